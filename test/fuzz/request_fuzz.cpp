// Whatever a client sends is a request or a fault whose answer is a JSON object, and never anything else.
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <variant>

#include <jansson.h>

#include "core/json.hpp"
#include "core/name.hpp"
#include "core/reply.hpp"
#include "core/request.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size)
{
	const std::string_view text(reinterpret_cast<const char*>(data), size);
	// The network layer lets nothing else through.
	if (!plank::core::is_utf8(text)) return 0;
	const auto parsed = plank::core::parse_request(text);
	if (const auto* fault = std::get_if<plank::core::Fault>(&parsed)) {
		const std::string answer = plank::core::error_message(*fault);
		json_error_t error;
		json_t* object = json_loadb(answer.data(), answer.size(), 0, &error);
		if (!json_is_object(object)) abort();
		json_decref(object);
		return 0;
	}
	const auto& request = std::get<plank::core::Request>(parsed);
	if (const auto name = plank::core::parse_table_name(request.table))
		if (name->name.empty() || name->schema.empty() || name->name.size() > 63 || name->schema.size() > 63) abort();
	return 0;
}
