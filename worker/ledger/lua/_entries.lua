-- Cuts the values of a stream's entry; returns how many bytes are left. Put before the scripts that read orders.
local function cut(fields, most)
  local bytes = 0
  for i, word in ipairs(fields) do
    if #word > most then fields[i] = string.sub(word, 1, most) end
    bytes = bytes + math.min(#word, most)
  end
  return bytes
end
