-- Append a chunk of tasks to the graph of a run that is being created.
-- KEYS    meta graph
-- ARGV    operation, index of the chunk, packed chunk, then the queues of its tasks
-- Returns OK, WRONG_STATE or GONE
-- Events  none
local meta, graph = KEYS[1], KEYS[2]
local operation, index, packed = ARGV[1], ARGV[2], ARGV[3]
if not run_exists() then return CODE.GONE end
local run = redis.call('HMGET', meta, 'operation', 'status')
-- Another creation of the same name, or a graph that is frozen.
if run[1] ~= operation or run[2] ~= 'creating' then return CODE.WRONG_STATE end
redis.call('HSET', graph, index, packed)
local known = redis.call('HGET', meta, 'queues')
local queues, seen = known and cmsgpack.unpack(known) or {}, {}
for _, queue in ipairs(queues) do seen[queue] = true end
for i = 4, #ARGV do
  if not seen[ARGV[i]] then queues[#queues + 1] = ARGV[i] end
end
redis.call('HSET', meta, 'queues', cmsgpack.pack(queues))
return CODE.OK
