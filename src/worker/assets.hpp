// The browser client and the live page, as built by npm and carried inside the library (scripts/embed-assets writes the
// definitions). Constant data: needs no start-up code and may be used by any process.
#pragma once

#include <string_view>

namespace plank::worker::assets {

extern const std::string_view kClient;      // GET /plank.js
extern const std::string_view kPage;        // GET /
extern const std::string_view kPagePolicy;  // the page's Content-Security-Policy, one line

}  // namespace plank::worker::assets
