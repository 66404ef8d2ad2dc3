// See request.hpp.
#include "net/request.hpp"

#include <algorithm>

namespace plank::net {

namespace {

constexpr size_t kMaxHeaders = 100;

constexpr HttpFault kBadRequest{400, "bad request"};

char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

bool is_alphanumeric(char c) noexcept { return (lower(c) >= 'a' && lower(c) <= 'z') || (c >= '0' && c <= '9'); }

bool is_token(std::string_view text) noexcept
{
	constexpr std::string_view marks = "!#$%&'*+-.^_`|~";
	return !text.empty() && std::all_of(text.begin(), text.end(), [&](char c) {
		return is_alphanumeric(c) || marks.find(c) != std::string_view::npos;
	});
}

std::string_view trim(std::string_view text) noexcept
{
	const size_t first = text.find_first_not_of(" \t");
	if (first == std::string_view::npos) return {};
	return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

// Takes the next element off a comma-separated list.
std::string_view next_element(std::string_view& list) noexcept
{
	const size_t comma = list.find(',');
	const std::string_view element = trim(list.substr(0, comma));
	list = comma == std::string_view::npos ? std::string_view{} : list.substr(comma + 1);
	return element;
}

std::optional<HttpFault> parse_request_line(std::string_view line, RequestHead& head)
{
	const size_t first = line.find(' ');
	const size_t last = line.rfind(' ');
	if (first == std::string_view::npos || first == last) return kBadRequest;
	head.method = line.substr(0, first);
	const std::string_view target = line.substr(first + 1, last - first - 1);
	const std::string_view version = line.substr(last + 1);
	if (!is_token(head.method)) return kBadRequest;
	if (version.size() != 8 || version.substr(0, 5) != "HTTP/") return kBadRequest;
	if (version != "HTTP/1.1" && version != "HTTP/1.0") return HttpFault{505, "only HTTP/1.1 is spoken here"};
	if (head.method != "GET" && head.method != "HEAD") return HttpFault{405, "method not allowed"};
	head.http_1_0 = version.back() == '0';
	// Only origin-form: what a proxy would be asked (absolute-form) is not for this server.
	if (target.empty() || target[0] != '/') return kBadRequest;
	if (!std::all_of(target.begin(), target.end(), [](char c) { return c > 0x20 && c < 0x7F; })) return kBadRequest;
	const size_t question = target.find('?');
	head.path = target.substr(0, question);
	if (question != std::string_view::npos) head.query = target.substr(question + 1);
	return std::nullopt;
}

struct Seen {
	std::string_view upgrade;
	std::string connections;
	int hosts = 0, origins = 0, authorizations = 0, upgrades = 0, keys = 0, versions = 0;
};

std::optional<HttpFault> take_header(std::string_view name, std::string_view value, RequestHead& head, Seen& seen)
{
	const auto is = [&](std::string_view known) { return equal_ignoring_case(name, known); };
	const auto join = [&](std::string& all) {
		if (!all.empty()) all += ", ";
		all += value;
	};
	if (is("host")) {
		if (++seen.hosts > 1 || value.find_first_of(" \t/?#@") != std::string_view::npos) return kBadRequest;
		head.host = value;
	} else if (is("connection")) {
		join(seen.connections);
	} else if (is("upgrade")) {
		if (++seen.upgrades > 1) return kBadRequest;
		seen.upgrade = value;
	} else if (is("origin")) {
		if (++seen.origins > 1) return kBadRequest;
		head.has_origin = true;
		head.origin = value;
	} else if (is("authorization")) {
		if (++seen.authorizations > 1) return kBadRequest;
		head.authorization = value;
	} else if (is("if-none-match")) {
		head.if_none_match = value;
	} else if (is("sec-websocket-key")) {
		if (++seen.keys > 1) return kBadRequest;
		head.websocket_key = value;
	} else if (is("sec-websocket-version")) {
		if (++seen.versions > 1) return kBadRequest;
		head.websocket_version = value;
	} else if (is("sec-websocket-protocol")) {
		join(head.subprotocols);
	} else if (is("x-forwarded-for")) {
		join(head.forwarded_for);
	} else if (is("transfer-encoding")) {
		head.has_body = true;
	} else if (is("content-length")) {
		if (value.empty() || value.find_first_not_of("0123456789") != std::string_view::npos) return kBadRequest;
		if (value.find_first_not_of('0') != std::string_view::npos) head.has_body = true;
	}
	return std::nullopt;
}

}  // namespace

bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept
{
	return a.size() == b.size() &&
	       std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) { return lower(x) == lower(y); });
}

bool lists_token(std::string_view value, std::string_view token, bool ignore_case) noexcept
{
	while (!value.empty()) {
		const std::string_view element = next_element(value);
		if (ignore_case ? equal_ignoring_case(element, token) : element == token) return true;
	}
	return false;
}

bool etag_matches(std::string_view if_none_match, std::string_view etag) noexcept
{
	const auto strong = [](std::string_view tag) { return tag.substr(0, 2) == "W/" ? tag.substr(2) : tag; };
	if (etag.empty()) return false;
	if (trim(if_none_match) == "*") return true;
	while (!if_none_match.empty())
		if (strong(next_element(if_none_match)) == strong(etag)) return true;
	return false;
}

bool is_websocket_key(std::string_view key) noexcept
{
	// 16 bytes: 22 characters, of which the last carries two bits only, and two of padding.
	if (key.size() != 24 || key.substr(22) != "==") return false;
	if (std::string_view("AQgw").find(key[21]) == std::string_view::npos) return false;
	return std::all_of(key.begin(), key.begin() + 22,
	                   [](char c) { return is_alphanumeric(c) || c == '+' || c == '/'; });
}

size_t find_head_end(std::string_view buffer, size_t from) noexcept
{
	const size_t at = buffer.find("\r\n\r\n", from > 3 ? from - 3 : 0);
	return at == std::string_view::npos ? 0 : at + 4;
}

std::optional<HttpFault> parse_head(std::string_view text, RequestHead& head)
{
	text.remove_suffix(2);
	Seen seen;
	size_t lines = 0;
	while (!text.empty()) {
		const size_t end = text.find("\r\n");
		const std::string_view line = text.substr(0, end);
		text = text.substr(end + 2);
		for (const char c : line)
			if ((static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7F) return kBadRequest;
		if (lines++ == 0) {
			if (auto fault = parse_request_line(line, head)) return fault;
			continue;
		}
		if (lines > kMaxHeaders) return HttpFault{431, "too many headers"};
		const size_t colon = line.find(':');
		// A name followed by white space, or a folded line, is how requests are smuggled past a proxy.
		if (colon == std::string_view::npos || !is_token(line.substr(0, colon))) return kBadRequest;
		if (auto fault = take_header(line.substr(0, colon), trim(line.substr(colon + 1)), head, seen)) return fault;
	}
	if (seen.hosts == 0 && !head.http_1_0) return HttpFault{400, "the Host header is missing"};
	if (head.has_body) return HttpFault{413, "request bodies are not accepted"};
	head.keep_alive = !head.http_1_0 && !lists_token(seen.connections, "close", true);
	head.wants_upgrade = seen.upgrades > 0;
	head.upgrade_to_websocket = equal_ignoring_case(seen.upgrade, "websocket") &&
	                            lists_token(seen.connections, "upgrade", true) && !head.http_1_0 &&
	                            head.method == "GET";
	return std::nullopt;
}

}  // namespace plank::net
