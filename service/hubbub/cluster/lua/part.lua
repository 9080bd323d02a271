-- Begins the last lease of a boot that ends. KEYS: lease, parting. ARGV: boot, the lease in ms.
if redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('GET', KEYS[2]) ~= ARGV[1] then
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
    redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
end
return 0
