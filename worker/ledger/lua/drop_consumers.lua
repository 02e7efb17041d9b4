-- Removes the consumers that dead intakes left. One that lives has asked for entries within the last seconds; should it
-- have stood still for as long, the server makes it anew when it asks again.
--
-- KEYS: prefix, orders stream
-- ARGV: group, ms after which a silent consumer without entries counts as gone
-- Returns their names.
local gone = {}
if redis.call('EXISTS', KEYS[2]) == 0 then return gone end
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[2], ARGV[1])) do
  local about = {}
  for i = 1, #consumer, 2 do about[consumer[i]] = consumer[i + 1] end
  if about['pending'] == 0 and about['idle'] > tonumber(ARGV[2]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[2], ARGV[1], about['name'])
    gone[#gone + 1] = about['name']
  end
end
return gone
