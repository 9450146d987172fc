-- A growing node writes a chunk of the tasks that it adds to the run, or what it stands for. None of
-- it counts before the finish that records the expansion; whatever else ends the claim deletes it.
-- KEYS    meta graph claims
-- ARGV    task, token, number of the chunk (-1: what the expansion stands for), the packed chunk
-- Returns GRANTED, REFUSED (the token does not hold the claim) or GONE
-- Events  none
local meta, graph, claims = KEYS[1], KEYS[2], KEYS[3]
local task, token, number, packed = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local refused = refusal()
if refused then return refused end
local claim = read_claim(claims, task)
-- The claim ended while its worker was away: nobody would delete what it writes now.
if not claim or claim[3] ~= token then return CODE.REFUSED end
local field = chunk_field(token, number)
local known = redis.call('HGET', graph, field)
local written = read_written(graph, token)
-- A chunk that is sent again replaces itself.
local added = #packed - #(known or '')
-- What exceeds the limit is only counted, so that it cannot fill Redis: the finish is refused.
if graph_bytes() + written.bytes + added <= most_graph_bytes() then
  redis.call('HSET', graph, field, packed)
end
if written.fields == 0 then redis.call('HINCRBY', meta, 'growing', 1) end
redis.call('HSET', graph, token, cmsgpack.pack({
  written.fields + (known and 0 or 1), math.max(written.chunks, number + 1), written.bytes + added}))
return CODE.GRANTED
