-- Remove a run.
-- KEYS    meta claims lease, then its other keys
-- ARGV    force (1 or 0)
-- Returns OK, HELD (somebody leads it), BUSY (workers hold tasks of it), TOO_NEW or GONE
-- Events  none
local claims, lease = KEYS[2], KEYS[3]
local force = ARGV[1]
if not run_exists() then
  -- A distflow that knows fewer keys may have deleted the run, and left the others.
  redis.call('DEL', unpack(KEYS))
  return CODE.GONE
end
-- It has keys that are not known here, and would be left.
if is_too_new() then return CODE.TOO_NEW end
if force ~= '1' then
  if redis.call('EXISTS', lease) == 1 then return CODE.HELD end
  if redis.call('EXISTS', claims) == 1 then return CODE.BUSY end
end
redis.call('DEL', unpack(KEYS))
return CODE.OK
