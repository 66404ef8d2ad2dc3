// The layout of WebSocket frames (RFC 6455 section 5.2) on the sending side, and its opcodes.
// Runs in the worker. Must not know connections.
#pragma once
#ifdef POSTGRES_H
#error "net/ must not see PostgreSQL"
#endif

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "net/server.hpp"

namespace plank::net {

inline constexpr uint8_t kContinuation = 0x0;
inline constexpr uint8_t kText = 0x1;
inline constexpr uint8_t kBinary = 0x2;
inline constexpr uint8_t kClose = 0x8;
inline constexpr uint8_t kPing = 0x9;
inline constexpr uint8_t kPong = 0xA;
inline constexpr size_t kMaxControlPayload = 125;

// Writes the header of a final, unmasked frame so that it ends at `end`; returns its length, at most 10.
size_t encode_header(char* end, uint8_t opcode, size_t length) noexcept;

// The whole frame as it goes over the wire. What a server sends is not masked, so the header is the same for every
// client: writing it again before text that is on its way to somebody changes nothing.
std::string_view wire_of(const Frame& frame) noexcept;
static_assert(Frame::kHeadroom >= 10);

// Appends a whole control frame; the payload must not exceed kMaxControlPayload.
void append_control(std::string& out, uint8_t opcode, std::string_view payload);

}  // namespace plank::net
