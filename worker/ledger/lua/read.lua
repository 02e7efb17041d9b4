-- Reads new entries of the orders stream for one intake: as many as are asked for, but no more bytes than it can hold.
--
-- KEYS: prefix, orders stream
-- ARGV: group, consumer, most entries, most bytes, most bytes of a value (a longer one is cut)
-- Returns per entry: id, its fields and values.
local group, consumer = ARGV[1], ARGV[2]
local most, most_bytes, most_of_one = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local PORTION = 20
local out, bytes = {}, 0

while #out < most and bytes < most_bytes do
  local count = math.min(PORTION, most - #out)
  local answer = redis.call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', count, 'STREAMS', KEYS[2], '>')
  if not answer then break end
  local entries = answer[1][2]
  for _, entry in ipairs(entries) do
    bytes = bytes + cut(entry[2], most_of_one)
    out[#out + 1] = entry
  end
  if #entries < count then break end
end
return out
