-- End the creation of a run: its graph is frozen and its tasks may run.
-- KEYS    meta
-- ARGV    operation, number of tasks
-- Returns OK, WRONG_STATE or GONE
-- Events  none
local meta = KEYS[1]
local operation, total = ARGV[1], ARGV[2]
if not run_exists() then return CODE.GONE end
local run = redis.call('HMGET', meta, 'operation', 'status')
if run[1] ~= operation then return CODE.WRONG_STATE end
-- The reply to this very sealing was lost.
if run[2] ~= 'creating' then return CODE.OK end
redis.call('HSET', meta, 'status', 'running', 'total', total)
return CODE.OK
