-- ARGV[1] {now, token, counter, {{moment, amount}, …}}. Whether the token was there, 1 or 0.
local now, token, counter, settled = unpack(cmsgpack.unpack(ARGV[1]), 1, 4)
now = clock(now)
local state = load({ counter }, now)[1]
if not state or state[TOKEN] ~= token then
  return 0
end
state[SEED], state[TOKEN] = token, ''
for _, used in ipairs(settled) do
  use(counter, state, used[2], used[1], now)
end
save(counter, state, now)
return 1
