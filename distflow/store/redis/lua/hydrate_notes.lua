-- Put what tasks had saved, by a snapshot, into a run that is being created.
-- KEYS    meta saved
-- ARGV    operation, then task and packed note in turn
-- Returns OK, WRONG_STATE or GONE
-- Events  none
local meta, saved = KEYS[1], KEYS[2]
local operation = ARGV[1]
if not run_exists() then return CODE.GONE end
local run = redis.call('HMGET', meta, 'operation', 'status')
-- Another creation of the same name, or a run that has begun to save notes of its own.
if run[1] ~= operation or run[2] ~= 'creating' then return CODE.WRONG_STATE end
for i = 2, #ARGV, 2 do
  local task, packed = ARGV[i], ARGV[i + 1]
  redis.call('HSET', saved, task, packed)
end
return CODE.OK
