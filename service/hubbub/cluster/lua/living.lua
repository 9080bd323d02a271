-- The boot that holds a name, and for how many milliseconds still. KEYS: lease.
local boot = redis.call('GET', KEYS[1])
return boot and { boot, redis.call('PTTL', KEYS[1]) } or false
