-- The load: cycles through prepared request bodies at a steady rate and counts every answer that is not a prediction.
-- Arguments: FILE RATE RESULT
--   FILE    one text/csv body per line
--   RATE    requests per second of this thread (over all its connections)
--   RESULT  where done() writes its JSON
local ffi = require("ffi")
ffi.cdef [[
  typedef struct { long sec; long nsec; } sagebrush_timespec;
  int clock_gettime(int clock, sagebrush_timespec *out);
]]
local MONOTONIC = 1
local stamp = ffi.new("sagebrush_timespec")

local threads = {}

local function now_ms()
  ffi.C.clock_gettime(MONOTONIC, stamp)
  return tonumber(stamp.sec) * 1000 + tonumber(stamp.nsec) / 1000000
end

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  requests = {}
  for line in io.lines(args[1]) do
    if line ~= "" then
      local headers = { ["Content-Type"] = "text/csv", ["Accept"] = "application/json" }
      requests[#requests + 1] = wrk.format("POST", nil, headers, line)
    end
  end
  interval_ms = 1000 / tonumber(args[2])
  slot_ms = now_ms()
  result = args[3]
  sent, answered, not_200, wrong = 0, 0, 0, 0
  first_wrong = ""
end

-- Every request takes the next slot of one schedule, so that the rate holds however many connections there are.
-- A schedule that fell behind is not caught up with: that would be a burst.
function delay()
  local now = now_ms()
  slot_ms = math.max(slot_ms + interval_ms, now - interval_ms)
  return math.max(0, math.floor(slot_ms - now + 0.5))
end

function request()
  sent = sent + 1
  return requests[(sent - 1) % #requests + 1]
end

function response(status, headers, body)
  answered = answered + 1
  if status ~= 200 then
    not_200 = not_200 + 1
    if first_wrong == "" then first_wrong = status .. " " .. body:sub(1, 300) end
  elseif not body:find('"predicted_label"', 1, true) then
    wrong = wrong + 1
    if first_wrong == "" then first_wrong = body:sub(1, 300) end
  end
end

local function quoted(text)
  return '"' .. text:gsub('[%c"\\]', function(c) return string.format("\\u%04x", c:byte()) end) .. '"'
end

function done(summary, latency, _)
  local total = { sent = 0, answered = 0, not_200 = 0, wrong = 0 }
  local sample = ""
  for _, thread in ipairs(threads) do
    for key in pairs(total) do total[key] = total[key] + thread:get(key) end
    if sample == "" then sample = thread:get("first_wrong") end
  end
  local out = io.open(threads[1]:get("result"), "w")
  out:write(string.format(
    '{"seconds": %.3f, "sent": %d, "answered": %d, "not200": %d, "wrong": %d, "connect": %d, "read": %d, "write": %d, ' ..
    '"timeout": %d, "p50Ms": %.3f, "p90Ms": %.3f, "p99Ms": %.3f, "maxMs": %.3f, "firstWrong": %s}\n',
    summary.duration / 1e6, total.sent, total.answered, total.not_200, total.wrong, summary.errors.connect,
    summary.errors.read, summary.errors.write, summary.errors.timeout, latency:percentile(50) / 1e3,
    latency:percentile(90) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3, quoted(sample)))
  out:close()
end
