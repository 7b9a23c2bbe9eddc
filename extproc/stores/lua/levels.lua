-- ARGV[1] {now, counters}. Replies {settled, held, …}; held is -1 where settled is unknown.
local now, counters = unpack(cmsgpack.unpack(ARGV[1]), 1, 2)
now = clock(now)
local states, changed = load(counters, now)
save_changed(counters, states, changed, now)
local levels = {}
for i in ipairs(counters) do
  local state = states[i]
  local known = state and state[SEED] ~= ''
  levels[2 * i - 1], levels[2 * i] = known and state[SETTLED] or 0, known and state[HELD] + state[KEPT] or -1
end
return levels
