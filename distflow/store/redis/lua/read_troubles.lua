-- The unknown and failed tasks, a few names of each kind, at one instant.
-- KEYS    meta troubles traits
-- ARGV    how many of each kind
-- Returns names of unknown tasks, of failed ones, of failed ones with tolerance, how many of the
--         latter there are, and the traits of the unknown ones, with nil where there are none
-- Events  none
local troubles, traits = KEYS[2], KEYS[3]
local limit = ARGV[1]

local function some(kind)
  return redis.call('ZRANGEBYSCORE', troubles, kind, kind, 'LIMIT', 0, limit)
end

local unknown = some(TROUBLES.unknown)
local its_traits = #unknown > 0 and redis.call('HMGET', traits, unpack(unknown)) or {}
return {unknown, some(TROUBLES.failure), some(TOLERATED),
  redis.call('ZCOUNT', troubles, TOLERATED, TOLERATED), its_traits}
