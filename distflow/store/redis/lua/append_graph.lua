-- Append a chunk of tasks to the graph of a run that is being created. What may grow keeps how many
-- chunks it began with, and how many bytes they have.
-- KEYS    meta graph traits
-- ARGV    operation, index of the chunk, packed chunk, packed list of the queues of its tasks, packed
--         list of task and traits in turn: c (its failure is tolerated), v (it has a verify hook)
-- Returns OK, WRONG_STATE or GONE
-- Events  none
local meta, graph, traits = KEYS[1], KEYS[2], KEYS[3]
local operation, index, packed = ARGV[1], ARGV[2], ARGV[3]
local its_queues, its_traits = cmsgpack.unpack(ARGV[4]), cmsgpack.unpack(ARGV[5])
local refused = making_refusal(operation)
if refused then return refused end
local chunks = redis.call('HGET', meta, 'base_chunks')
if chunks then
  -- A chunk that is sent again replaces itself.
  local before = redis.call('HGET', graph, index) or ''
  redis.call('HSET', meta, 'base_chunks', text(math.max(tonumber(chunks), tonumber(index) + 1)),
    'graph_bytes', text(graph_bytes() + #packed - #before))
end
redis.call('HSET', graph, index, packed)
add_queues(its_queues)
add_traits(traits, its_traits)
return CODE.OK
