// Who the clients are: roles, and several sets of claims for each, with the tokens that say so.

import { hs256 } from '../../client/jwt.mjs';

/** Roles that tokens may name; `web` is everybody's without a token, `boss` owns a table. */
export const roles = ['viewer', 'editor', 'auditor', 'member', 'boss', 'web'];
/** What `member` is granted and loses again. */
export const group = 'readers';

const person = (role, claims) => ({ name: `${role} ${JSON.stringify(claims)}`, role, claims: claims && { role, ...claims } });

export const identities = [
	person('viewer', { sub: 'alice', tenant: 1, level: 1, groups: [1, 2] }),
	person('viewer', { sub: 'bob', tenant: 2, level: 3, groups: [] }),
	person('viewer', { sub: 'carol', tenant: 1, level: 5, groups: [2, 3, 5] }),
	person('editor', { sub: 'alice', tenant: 1, level: 1, groups: [1, 2] }),
	person('editor', { sub: `o'brien "\\q`, tenant: 3, groups: [4] }),
	person('editor', { sub: 'bob', tenant: 4, level: 6, groups: [1, 2, 3, 4, 5, 6] }),
	person('auditor', {}),
	person('auditor', { sub: null, tenant: null, level: null, groups: null }),
	person('auditor', { sub: 'zoë', tenant: 2, level: 0, groups: [6] }),
	person('member', { sub: 'carol', tenant: 1, level: 2, groups: [3] }),
	person('member', { sub: 'dave', tenant: 2, level: 4, groups: [5, 6] }),
	person('boss', { sub: 'dave', tenant: 3, level: 2, groups: [1] }),
	person('boss', { sub: 'bob' }),
	person('web', null),
];

/** What `request.jwt.claims` says for it. */
export const claimsText = ({ role, claims }) => JSON.stringify(claims ?? { role });

let tokens = 0;
/** A token of its own each time: what differs is no matter of identity. Null for who has none. */
export const token = ({ claims }) => claims && hs256({ ...claims, exp: Math.floor(Date.now() / 1000) + 3600 + (tokens += 1), jti: `t${tokens}` });
