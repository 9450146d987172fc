-- What a growing node has added to the run, and what it stands for, at one instant.
-- KEYS    meta expansions graph
-- ARGV    node
-- Returns {packed record, packed stand-in}; {} where the node has not expanded
-- Events  none
local expansions, graph = KEYS[2], KEYS[3]
local node = ARGV[1]
local record = redis.call('HGET', expansions, node)
if not record then return {} end
return {record, redis.call('HGET', graph, chunk_field(cmsgpack.unpack(record)[1], -1))}
