// The only way the page makes elements. Data goes in as text and never as markup.

export type Child = Node | string | null;

export function el<Tag extends keyof HTMLElementTagNameMap>(
	tag: Tag, className: string, ...children: Child[]
): HTMLElementTagNameMap[Tag] {
	const element = document.createElement(tag);
	if (className !== '') element.className = className;
	for (const child of children) if (child !== null) element.append(child);
	return element;
}

export function byId<T extends Element = HTMLElement>(id: string): T {
	const element = document.getElementById(id);
	if (element === null) throw new Error(`the page has no element #${id}`);
	return element as unknown as T;
}

export function button(label: string, action: () => void): HTMLButtonElement {
	const element = el('button', '', label);
	element.type = 'button';
	element.addEventListener('click', action);
	return element;
}
