-- Gives the lease back. KEYS: lease. ARGV: boot.
if redis.call('GET', KEYS[1]) == ARGV[1] then
    return redis.call('DEL', KEYS[1])
end
return 0
