-- Complete the creation of a run: its graph is frozen and its tasks may run.
-- KEYS    meta
-- ARGV    operation, number of tasks, the status that follows
-- Returns OK, WRONG_STATE or GONE
-- Events  none
local meta = KEYS[1]
local operation, total, status = ARGV[1], ARGV[2], ARGV[3]
local refused = making_refusal(operation)
-- The reply to this call was lost.
if refused == CODE.WRONG_STATE and redis.call('HGET', meta, 'operation') == operation then
  return CODE.OK
end
if refused then return refused end
redis.call('HSET', meta, 'status', status, 'total', total)
return CODE.OK
