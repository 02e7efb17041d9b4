-- Removes consumers that dead intakes left. A live intake reads every second; one that stood still for as long is created
-- again by its next read.
--
-- KEYS: prefix, orders stream
-- ARGV: ConsumersArgs; `idle_ms`: after which a consumer without entries counts as gone
-- Returns the names of the removed consumers.
local group, idle_ms = unpack(ARGV, 1, 2)
local removed = {}
if redis.call('EXISTS', KEYS[2]) == 0 then return removed end
for _, fields in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[2], group)) do
  local consumer = {}
  for i = 1, #fields, 2 do consumer[fields[i]] = fields[i + 1] end
  if consumer['pending'] == 0 and consumer['idle'] > tonumber(idle_ms) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[2], group, consumer['name'])
    removed[#removed + 1] = consumer['name']
  end
end
return removed
