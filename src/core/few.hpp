// A set of pointers that mostly holds one: then it takes no memory of its own, and looking at it is one look.
// Runs anywhere. Must not call PostgreSQL.
#pragma once
#ifdef POSTGRES_H
#error "core/ must not see PostgreSQL"
#endif

#include <memory>
#include <unordered_set>
#include <utility>

namespace plank::core {

template <typename T>
class Few {
 public:
	void insert(T* item)
	{
		if (many_) {
			many_->insert(item);
		} else if (!one_ || one_ == item) {
			one_ = item;
		} else {
			many_ = std::make_unique<std::unordered_set<T*>>(std::initializer_list<T*>{one_, item});
			one_ = nullptr;
		}
	}
	void erase(T* item) noexcept
	{
		if (one_ == item) one_ = nullptr;
		if (many_) many_->erase(item);
		if (many_ && many_->empty()) many_.reset();
	}
	bool empty() const noexcept { return !one_ && !many_; }
	template <typename Visit>
	void for_each(Visit&& visit) const
	{
		if (one_) visit(one_);
		if (!many_) return;
		for (T* item : *many_)
			visit(item);
	}

 private:
	T* one_ = nullptr;
	std::unique_ptr<std::unordered_set<T*>> many_;  // all of them, when there are or were several
};

}  // namespace plank::core
