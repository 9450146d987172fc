-- Put an expansion from a snapshot into a run that is being created: its chunks one after another,
-- its stand-in, then its record.
-- KEYS    meta graph traits expansions
-- ARGV    operation, node, packed record, number of the chunk (-1: the stand-in, with which the record
--         is written), packed chunk, packed list of task and traits in turn, as of append_graph
-- Returns OK, WRONG_STATE or GONE
-- Events  none
local meta, graph, traits, expansions = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local operation, node, record = ARGV[1], ARGV[2], ARGV[3]
local number, packed, its_traits = tonumber(ARGV[4]), ARGV[5], cmsgpack.unpack(ARGV[6])
local refused = making_refusal(operation)
if refused then return refused end
local token, _seq, _chunks, _children, queues = unpack(cmsgpack.unpack(record))
local field = chunk_field(token, number)
-- A chunk that is sent again replaces itself.
local added = #packed - #(redis.call('HGET', graph, field) or '')
redis.call('HSET', graph, field, packed)
redis.call('HSET', meta, 'graph_bytes', text(graph_bytes() + added))
add_traits(traits, its_traits)
if number == -1 then
  redis.call('HSET', expansions, node, record)
  add_queues(queues)
end
return CODE.OK
