-- Remove a run.
-- KEYS    meta claims lease, then its other keys
-- ARGV    force (1 or 0)
-- Returns OK, HELD (somebody leads it), BUSY (workers hold tasks of it), TOO_NEW or GONE
-- Events  none
local claims, lease = KEYS[2], KEYS[3]
local force = ARGV[1]
-- A newer one has keys that are not known here, and would be left.
local refused = refusal(nil, true)
-- A distflow that knows fewer keys may have deleted the run, and left the others.
if refused == CODE.GONE then redis.call('DEL', unpack(KEYS)) end
if refused then return refused end
if force ~= '1' then
  if redis.call('EXISTS', lease) == 1 then return CODE.HELD end
  if redis.call('EXISTS', claims) == 1 then return CODE.BUSY end
end
redis.call('DEL', unpack(KEYS))
return CODE.OK
