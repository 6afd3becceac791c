-- Sends the requests of a file in turn: a line holds method, path, key and body, divided by tabs.
-- args: the file, and how many requests were sent before.
dofile(os.getenv("BENCH_LUA") .. "/common.lua")

local prepared = {}
local at = 0

function init(args)
  at = tonumber(args[2])
  for line in io.lines(args[1]) do
    local method, path, key, body = line:match("^([^\t]*)\t([^\t]*)\t([^\t]*)\t(.*)$")
    local headers = {["X-API-Key"] = key}
    if body == "" then body = nil else headers["Content-Type"] = "application/json" end
    prepared[#prepared + 1] = wrk.format(method, path, headers, body)
  end
end

function request()
  at = at % #prepared + 1
  return prepared[at]
end
