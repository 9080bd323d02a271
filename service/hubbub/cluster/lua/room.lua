-- What a node says of a room: its boot, the number of its last announcement, and the users with what was announced of them.
-- KEYS: lease. ARGV: prefix of what was said, prefix of a room's key up to the boot, uid.
local boot = redis.call('GET', KEYS[1])
if not boot then
    return false
end
local said = ARGV[1] .. boot
local users = redis.call('SMEMBERS', ARGV[2] .. boot .. ':' .. ARGV[3])
local found = { boot, redis.call('HGET', said, '') or '0' }
for from = 1, #users, 1000 do
    local some = { unpack(users, from, math.min(from + 999, #users)) }
    local words = redis.call('HMGET', said, unpack(some))
    for at, user in ipairs(some) do
        if words[at] then
            found[#found + 1] = user
            found[#found + 1] = words[at]
        end
    end
end
return found
