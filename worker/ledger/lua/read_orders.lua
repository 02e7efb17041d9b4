-- Reads new entries of the orders stream for one intake, within bounds of entries and bytes.
--
-- KEYS: prefix, orders stream
-- ARGV: ReadArgs; a value longer than `max_value_bytes` is truncated
-- Returns per entry: id, its fields and values.
local group, consumer, max_entries, max_bytes, max_value_bytes = unpack(ARGV, 1, 5)
max_entries, max_bytes, max_value_bytes = tonumber(max_entries), tonumber(max_bytes), tonumber(max_value_bytes)
local PORTION = 20
local out, bytes = {}, 0

while #out < max_entries and bytes < max_bytes do
  local count = math.min(PORTION, max_entries - #out)
  local reply = redis.call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', count, 'STREAMS', KEYS[2], '>')
  if not reply then break end
  local entries = reply[1][2]
  for _, entry in ipairs(entries) do
    bytes = bytes + truncate(entry[2], max_value_bytes)
    out[#out + 1] = entry
  end
  if #entries < count then break end
end
return out
