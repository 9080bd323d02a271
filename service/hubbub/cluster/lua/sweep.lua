-- Removes a slice of what a boot left behind that has no lease any more; returns whether there is more.
-- KEYS: lease, said, rooms. ARGV: boot, prefix of a room's key, how many rooms.
if redis.call('GET', KEYS[1]) == ARGV[1] then
    return 0
end
local uids = redis.call('SPOP', KEYS[3], ARGV[3])
for _, uid in ipairs(uids) do
    redis.call('UNLINK', ARGV[2] .. uid)
end
if #uids == tonumber(ARGV[3]) then
    return 1
end
redis.call('UNLINK', KEYS[2], KEYS[3])
return 0
