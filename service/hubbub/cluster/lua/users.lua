-- What a node says of some users: false for each whom it does not have. KEYS: lease. ARGV: prefix of what was said, users.
local boot = redis.call('GET', KEYS[1])
if not boot then
    return false
end
return redis.call('HMGET', ARGV[1] .. boot, unpack(ARGV, 2))
