-- Takes one read of the orders stream: new shipments into ledger and schedule, rejected events to their stream, and
-- only then the acknowledgement; all or nothing, so that a dead intake neither loses nor half-takes an event.
-- A shipment that the ledger knows is a duplicate and stays as it is.
--
-- KEYS: prefix, orders stream, rejected stream
-- ARGV: group, n shipments, n rejected, n events of other types, then per shipment: merchant, reference, facts,
--       published, asks, when it came into being at the earliest in ms (its stream id, its event's own time); per
--       rejected event: stream id, event, reason, error, its bytes as base64 or ''; then the stream ids to acknowledge
-- Returns the number of new shipments, and what the caller must send as a message that starts a worker child (see
-- _wake.lua), or nothing.
local now, place = clock()
local shipments, rejected = tonumber(ARGV[2]), tonumber(ARGV[3])
check_stream(KEYS[2])
check_stream(KEYS[3])
local i, fresh, touched, era = 5, 0, {}, changes_noted()

for _ = 1, shipments do
  local m, r, facts, published, asks, entered = unpack(ARGV, i, i + 5)
  i = i + 6
  local key = record(m, r)
  if redis.call('EXISTS', key) == 0 then
    redis.call('HSET', key, 'facts', facts, 'received', now, 'published', published, 'asks', asks, 'step', 0,
      'entered', entered, 'era', era)
    gather('ZADD', waiting(m), now, r)
    fresh = fresh + 1
    touched[m] = true
  end
end
for _ = 1, rejected do
  local id, event, reason, why, bytes = unpack(ARGV, i, i + 4)
  i = i + 5
  local says = { 'event', event, 'reason', reason, 'error', why, 'stream_id', id }
  if bytes ~= '' then says[#says + 1], says[#says + 2] = 'event_base64', bytes end
  redis.call('XADD', KEYS[3], '*', unpack(says))
end
if ARGV[4] ~= '0' then redis.call('INCRBY', P .. 'not_ours', ARGV[4]) end
write_gathered()
if fresh > 0 then redis.call('SET', P .. 'format', FORMAT, 'NX') end
for m in pairs(touched) do
  wake(m, place)
  redis.call('SADD', P .. 'known', m)
end
local acknowledged = 0
while i <= #ARGV do
  acknowledged = acknowledged + redis.call('XACK', KEYS[2], ARGV[1], unpack(ARGV, i, math.min(i + 999, #ARGV)))
  i = i + 1000
end
-- For unread.lua, which finds what nobody was given.
if acknowledged > 0 then redis.call('HINCRBY', P .. 'orders_seen:' .. KEYS[2], 'acknowledged', acknowledged) end
return { fresh, fresh > 0 and ring(now) or {} }
