-- Truncates the values of a stream entry in place; returns the bytes that remain. Put before the scripts that read orders.
local function truncate(fields, max_value_bytes)
  local bytes = 0
  for i, value in ipairs(fields) do
    if #value > max_value_bytes then fields[i] = string.sub(value, 1, max_value_bytes) end
    bytes = bytes + math.min(#value, max_value_bytes)
  end
  return bytes
end
