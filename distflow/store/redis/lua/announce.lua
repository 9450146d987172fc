-- A coordinator announces that it takes detached and orphaned runs.
-- KEYS    coordinators
-- ARGV    owner, how long this holds in ms, how long any announcement holds at most in ms
-- Returns OK
-- Events  none
local coordinators = KEYS[1]
local owner, ttl_ms, longest_ms = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local now = now_ms('0')
-- It deletes first, so that a full Redis accepts it. An entry that expires too late dates from
-- before Redis's clock was set back.
redis.call('ZREMRANGEBYSCORE', coordinators, '-inf', text(now / 1000))
redis.call('ZREMRANGEBYSCORE', coordinators, '(' .. text((now + longest_ms) / 1000 + 1), '+inf')
redis.call('ZADD', coordinators, (now + ttl_ms) / 1000, owner)
return CODE.OK
