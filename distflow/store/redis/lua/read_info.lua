-- The run in short, at one instant. A full Redis would refuse a whole transaction.
-- KEYS    meta claims lease
-- ARGV    none
-- Returns {field and value of meta in turn, number of claims, the lease or nil, time in ms}
-- Events  none
local meta, claims, lease = KEYS[1], KEYS[2], KEYS[3]
return {redis.call('HGETALL', meta), redis.call('HLEN', claims), redis.call('GET', lease), now_ms()}
