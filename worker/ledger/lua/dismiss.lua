-- Marks failed shipments as dealt with; a record that has expired meanwhile stays away.
--
-- KEYS: prefix
-- ARGV: DismissArgs, DismissRow... `order`: who, when and why, as JSON
-- Returns how many were not dealt with before.
local order = unpack(ARGV, 1, 1)
local dismissed = 0
for i = 2, #ARGV, 2 do
  local merchant, reference = unpack(ARGV, i, i + 1)
  if remove_failure(merchant, reference) then
    dismissed = dismissed + 1
    local key = record(merchant, reference)
    if redis.call('EXISTS', key) == 1 then redis.call('HSET', key, 'dismissed', order) end
  end
end
return dismissed
