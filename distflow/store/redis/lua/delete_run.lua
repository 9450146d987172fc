-- Remove a run, or what an operation has written of a run that it has not sealed.
-- KEYS    meta claims lease, then its other keys
-- ARGV    force (1 or 0), operation (empty: whoever has written it), made (1: also a run that the
--         operation has sealed, as long as nobody has led it)
-- Returns OK, HELD (somebody leads it), BUSY (workers hold tasks of it), WRONG_STATE (the operation
--         does not write it), TOO_NEW or GONE
-- Events  none
local meta, claims, lease = KEYS[1], KEYS[2], KEYS[3]
local force, operation, made = ARGV[1], ARGV[2], ARGV[3]
-- A run of a newer version has keys unknown here, which would be left behind.
local refused = refusal(nil, true)
-- A release that knows fewer keys may have deleted the run and left the others.
if refused == CODE.GONE then redis.call('DEL', unpack(KEYS)) end
if refused then return refused end
-- Its writer was slow, not dead; or another one has written it anew already; or somebody leads it.
if operation ~= '' then
  local known = redis.call('HMGET', meta, 'operation', 'status', 'epoch')
  local is_unused = known[2] == 'creating' or (made == '1' and known[3] == '0')
  if known[1] ~= operation or not is_unused then return CODE.WRONG_STATE end
end
if force ~= '1' then
  if redis.call('EXISTS', lease) == 1 then return CODE.HELD end
  if redis.call('EXISTS', claims) == 1 then return CODE.BUSY end
end
redis.call('DEL', unpack(KEYS))
return CODE.OK
