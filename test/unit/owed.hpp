// What a client of the hub's model is owed: messages as text, and what becomes of them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace plank::test {

inline std::string joined(uint64_t xid, const std::string& catchup,
                          const std::map<std::string, std::vector<std::string>>& by_id)
{
	std::string said = "transaction " + std::to_string(xid) + (catchup.empty() ? "" : " catchup " + catchup);
	for (const auto& [id, changes] : by_id)
		for (const std::string& change : changes)
			said += "\n" + id + ": " + change;
	return said;
}

// Within a run of resets the order of ids is the hub's own affair.
inline std::vector<std::string> canonical(std::vector<std::string> said)
{
	const auto is_reset = [](const std::string& word) { return word.starts_with("reset"); };
	for (auto from = said.begin(); from != said.end();) {
		const auto to = is_reset(*from) ? std::find_if_not(from, said.end(), is_reset) : from + 1;
		std::sort(from, to);
		from = to;
	}
	return said;
}

// What the subscription lacks is not sent any more, and nothing behind that names it; `words` stand there. The client has
// had the first `had` of what it is owed.
inline void leave_out(std::vector<std::string>& owed, size_t had, const std::string& id, const std::string& words = "")
{
	const auto resumed = std::find(owed.rbegin(), owed.rend(), "subscribed " + id + " resumed").base();
	const auto first = std::max(resumed, owed.begin() + static_cast<ptrdiff_t>(had));
	const std::vector<std::string> behind(first, owed.end());
	owed.erase(first, owed.end());
	if (!words.empty()) owed.push_back(words);
	for (std::string said : behind) {
		const size_t head = said.find('\n');
		if (said == "reset " + id || said.find(" catchup " + id + "\n") < head) continue;
		if (head != std::string::npos && said.find(" catchup ") > head) {
			const std::string its = "\n" + id + ": ";
			for (size_t at = said.find(its); at != std::string::npos; at = said.find(its))
				said.erase(at, said.find('\n', at + 1) - at);
			if (said.find('\n') == std::string::npos) continue;
		}
		owed.push_back(std::move(said));
	}
}

}  // namespace plank::test
