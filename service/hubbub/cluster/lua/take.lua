-- Takes or renews the lease of a node's name. Returns 0 if another boot holds it, 1 if this one did, 2 if it is new: then
-- nothing is left of what this boot said before.
-- KEYS: lease, said, rooms, parting. ARGV: boot, lease in ms, prefix of a room's key, what may be left in ms of the lease of
-- a boot that has parted.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
    if redis.call('GET', KEYS[4]) ~= holder or redis.call('PTTL', KEYS[1]) > tonumber(ARGV[4]) then
        return 0
    end
    holder = false
end
if not holder then
    for _, uid in ipairs(redis.call('SMEMBERS', KEYS[3])) do
        redis.call('UNLINK', ARGV[3] .. uid)
    end
    redis.call('UNLINK', KEYS[2], KEYS[3])
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return holder and 1 or 2
