-- Remove a run.
-- KEYS    meta claims lease, then its other keys
-- ARGV    force (1 or 0)
-- Returns OK, HELD (somebody leads it), BUSY (workers hold tasks of it) or GONE
-- Events  none
local claims, lease = KEYS[2], KEYS[3]
local force = ARGV[1]
if not run_exists() then return CODE.GONE end
if force ~= '1' then
  if redis.call('EXISTS', lease) == 1 then return CODE.HELD end
  if redis.call('EXISTS', claims) == 1 then return CODE.BUSY end
end
redis.call('DEL', unpack(KEYS))
return CODE.OK
