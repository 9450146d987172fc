-- Put the saved notes of tasks from a snapshot into a run that is being created.
-- KEYS    meta saved
-- ARGV    operation, then task and packed note in turn
-- Returns OK, WRONG_STATE or GONE
-- Events  none
local saved = KEYS[2]
local operation = ARGV[1]
-- A sealed run may have saved notes of its own.
local refused = making_refusal(operation)
if refused then return refused end
for i = 2, #ARGV, 2 do
  local task, packed = ARGV[i], ARGV[i + 1]
  redis.call('HSET', saved, task, packed)
end
return CODE.OK
