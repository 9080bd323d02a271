-- Records what a node says of its users, and tells whoever watches their rooms. Nothing without a lease.
-- KEYS: lease, said, rooms. ARGV: boot, prefix of a room's key, prefix of a channel, then for each announcement: number, user,
-- the share as JSON or empty, the word for the channels, and the rooms with a space behind each.
--
-- `said` maps a user to the number, the rooms and the share that were announced last; the field '' has the last number.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
    return 0
end
local last = tonumber(redis.call('HGET', KEYS[2], '') or '0')
for at = 4, #ARGV, 5 do
    local number, user, share, word, list = tonumber(ARGV[at]), ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
    if number > last then
        last = number
        local was, now, before = {}, {}, redis.call('HGET', KEYS[2], user)
        if before then
            for uid in string.gmatch(string.match(before, '^%d+\t([^\t]*)\t'), '%S+') do
                was[uid] = true
            end
        end
        for uid in string.gmatch(list, '%S+') do
            now[uid] = true
            if not was[uid] then
                redis.call('SADD', ARGV[2] .. uid, user)
                redis.call('SADD', KEYS[3], uid)
            end
            redis.call('PUBLISH', ARGV[3] .. uid, word)
        end
        for uid in pairs(was) do
            if not now[uid] then
                redis.call('SREM', ARGV[2] .. uid, user)
                if redis.call('EXISTS', ARGV[2] .. uid) == 0 then
                    redis.call('SREM', KEYS[3], uid)
                end
                redis.call('PUBLISH', ARGV[3] .. uid, word)
            end
        end
        if share == '' then
            redis.call('HDEL', KEYS[2], user)
        else
            redis.call('HSET', KEYS[2], user, number .. '\t' .. list .. '\t' .. share)
        end
        redis.call('HSET', KEYS[2], '', number)
    end
end
return last
