// The command line of the load programs: --name value, where the usage text is the list of names, and switches.
#pragma once
#include <charconv>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>

namespace plank::bench {

class Arguments {
 public:
	// `flag` is the one name that takes no value.
	Arguments(int argc, char** argv, std::string_view usage, std::string_view flag)
	{
		for (int i = 1; i < argc; ++i) {
			const std::string name = argv[i];
			if (name == flag)
				values_[name] = "1";
			else if (usage.find(name + " ") != std::string_view::npos && i + 1 < argc)
				values_[name] = argv[++i];
			else
				throw std::invalid_argument("unknown or incomplete option " + name);
		}
	}

	std::string text(const std::string& name, const std::string& absent) const
	{
		const auto found = values_.find(name);
		return found == values_.end() ? absent : found->second;
	}

	double number(const std::string& name, double absent) const
	{
		const auto found = values_.find(name);
		if (found == values_.end()) return absent;
		double value = 0;
		const std::string& digits = found->second;
		const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
		if (error != std::errc() || end != digits.data() + digits.size() || value < 0)
			throw std::invalid_argument(name + " wants a number");
		return value;
	}

	unsigned count(const std::string& name, unsigned absent) const
	{
		return static_cast<unsigned>(number(name, absent));
	}

 private:
	std::map<std::string, std::string> values_;
};

}  // namespace plank::bench
