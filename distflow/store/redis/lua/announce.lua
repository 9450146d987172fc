-- A coordinator says that it is there for detached and orphaned runs.
-- KEYS    coordinators
-- ARGV    owner, how long that holds in ms, how long it holds of any coordinator at most in ms
-- Returns OK
-- Events  none
local coordinators = KEYS[1]
local owner, ttl_ms, longest_ms = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local now = now_ms('0')
-- It deletes first, so that a full Redis takes it. What ends too late is from before Redis's clock
-- was set back.
redis.call('ZREMRANGEBYSCORE', coordinators, '-inf', text(now / 1000))
redis.call('ZREMRANGEBYSCORE', coordinators, '(' .. text((now + longest_ms) / 1000 + 1), '+inf')
redis.call('ZADD', coordinators, (now + ttl_ms) / 1000, owner)
return CODE.OK
