// Generates schemas and values, and compares the validator's answers with those of ajv.
//   node differential.js --program SCHEMA_ANSWERS --modules FOLDER_WITH_NODE_MODULES [--pairs N] [--seed N]
// Exits with 1 at a disagreement, which it prints with the seed, and with 77 when ajv is missing.
//
// What is not generated, because ajv deviates from draft-07 or from us on purpose:
// - keywords beside "$ref": ajv evaluates them, draft-07 ignores them;
// - multiples among decimals and numbers beyond 2^53: ajv divides doubles, so that 0.3 is no multiple of 0.1 and
//   1e20 is one of 7, and reads the quotient as text, so that 1e300 is no multiple of 1;
// - a URI whose port is no number, "uri-reference": ajv-formats accepts the one, and "0:0", which RFC 3986 excludes;
// - whole numbers beyond 2^53, NaN and Infinity: JavaScript has no others, or none in JSON;
// - members that come twice: JSON.parse keeps the last one in silence, we refuse a declared one;
// - back references to groups that are repeated: ECMA-262 forgets such a group at each turn, PCRE2 does not;
// - lookbehind of no fixed length: PCRE2 refuses it;
// - "required" and lists of "dependencies" with the name "": ajv takes them for met;
// - "contains" without "minItems", or beside a list of "items": the code that ajv 8.20 generates keeps the answer of an
//   earlier check in its variable, and so accepts [] where "contains" must refuse it;
// - references that lead to themselves without a step into the value: ajv overflows the stack.
'use strict';
const { spawn } = require('child_process');
const fs = require('fs');
const path = require('path');
const readline = require('readline');

const option = (name, otherwise) => {
    const i = process.argv.indexOf('--' + name);
    return i < 0 ? otherwise : process.argv[i + 1];
};
const program = option('program');
const pairs = Number(option('pairs', process.env.LIGHTBUS_DIFFERENTIAL_PAIRS || 5000));
const seed = Number(option('seed', process.env.LIGHTBUS_DIFFERENTIAL_SEED || Date.now() % 1e9));
const modules = path.join(option('modules', '.'), 'node_modules');
if (!fs.existsSync(path.join(modules, 'ajv')) || !fs.existsSync(path.join(modules, 'ajv-formats'))) {
    console.log(`skipped: there is no ajv in ${modules}; tools/setup --ci installs it`);
    process.exit(77);
}
const Ajv = require(path.join(modules, 'ajv'));
const addFormats = require(path.join(modules, 'ajv-formats'));

// ---- Chance: mulberry32, so that a seed repeats a run

let state = seed >>> 0;
const chance = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
};
const below = n => Math.floor(chance() * n);
const one = list => list[below(list.length)];
const maybe = p => chance() < p;
const some = (list, most) => {
    const left = [...list];
    const taken = [];
    for (let n = below(Math.min(most, list.length) + 1); n > 0; n--)
        taken.push(left.splice(below(left.length), 1)[0]);
    return taken;
};
const times = (n, f) => Array.from({ length: n }, f);

// ---- Vocabulary: small, so that schemas and values meet

const names = ['a', 'b', 'c', 'ab', 'x1', 'é', 'a/b', 'm~n', '', '%25', '😀'];
const texts = ['', 'a', 'b', 'ab', 'aab', 'abc', 'A', '1', '12', 'x1', 'é', '😀', '😀a', 'a b', 'a\nb', '\n', 'a\n',
    ' ', '\u00a0', '\u2028', '_', '-', 'aaaa', 'bca', '{}', '[a]', 'ſ', 'Ω'];
const plainNumbers = [0, -0, 1, -1, 2, 3, 4, 10, 0.5, -0.5, 1.5, 2.25, 1e3, 100, 7, 9007199254740991,
    -9007199254740991, 4294967296];
const farNumbers = [1e20, -1e20, 1e-7, 1e300, 5e-324, 1.7976931348623157e308, 0.1, 0.3];
let far = false; // in this round: then there is no "multipleOf"
const number = () => far && maybe(0.5) ? one(farNumbers) : one(plainNumbers);
const formatTexts = {
    'date-time': ['2020-02-29T23:59:59Z', '2021-02-29T00:00:00Z', '2020-01-01T00:00:00+01:30', '2020-01-01T00:00:00',
        '1990-12-31T23:59:60Z', '2020-01-01T24:00:00Z', '2020-01-01t00:00:00.123z', '2020-13-01T00:00:00Z', 'x',
        '2020-01-01T00:00:00.Z', '2020-1-1T00:00:00Z', '1998-12-31T15:59:60.123-08:00', '2020-01-01T00:60:00Z'],
    date: ['2020-02-29', '2019-02-29', '2020-04-31', '2000-02-29', '1900-02-29', '2020-1-1', '20200101', '2020-00-10',
        '2020-12-31x', ''],
    time: ['00:00:00Z', '23:59:59.999+23:59', '24:00:00Z', '12:60:00Z', '12:00:00', '12:00Z', '23:59:60Z',
        '22:59:60Z', '12:00:00-24:00'],
    ipv4: ['0.0.0.0', '255.255.255.255', '256.1.1.1', '1.2.3', '1.2.3.4.5', '01.2.3.4', '1.2.3.4 ', 'a.b.c.d'],
    ipv6: ['::', '::1', '1::', '1:2:3:4:5:6:7:8', '1:2:3:4:5:6:7::', '1:2:3:4:5:6:7', '1::2::3', ':1', '1:', ':::',
        '::ffff:1.2.3.4', '1:2:3:4:5:6:1.2.3.4', '12345::', '::g', '1:2:3:4:5:6:7:8:9', '::1.2.3', 'fe80::1%eth0'],
    email: ['a@b.c', 'a.b@c.de', 'a', '@b', 'a@', 'a..b@c.de', '.a@b.cd', 'a.@b.cd', 'a+b@c-d.ef', 'a b@c.de',
        'a@-b.cd', 'a@b_c.de'],
    hostname: ['a', 'a.b', 'a-b.c', '-a', 'a-', 'a..b', 'a_b', '1.2', 'a'.repeat(63), 'a'.repeat(64), ''],
    uri: ['http://a', 'http://a/b?c#d', 'a', '/a', 'a:b', 'http://a b', 'urn:x:y', 'http://[::1]/', 'http://[::1',
        '1a:b', 'http://a/%zz', 'http://a/%41', 'mailto:a@b', 'http://a:80/', 'http://u:p@h/'],
    'json-pointer': ['', '/', '/a', 'a', '/~0~1', '/~', '/~2', '/a/b/'],
    'relative-json-pointer': ['0', '0#', '1/a', '01', '-1', '/a', '1a', '10/~', '2/~0'],
    'uri-template': ['a', '{a}', '{a', 'a}', '{+a,b}', '{a:3}', '{a*}', '{}', '{a b}', '{;x,y*}'],
    regex: ['a', '(', '[a', 'a{2}', '\\d+', '(?<n>a)\\k<n>', '[b-a]', '*a', 'a**', '(?:a|b)+?', 'a\\Z', '^a$'],
};
const formats = Object.keys(formatTexts);

// ---- Regular expressions

const escapes = ['\\d', '\\D', '\\w', '\\W', '\\s', '\\S', '\\.', '\\n', '\\t', '\\u0061', '\\u{1F600}',
    '\\uD83D\\uDE00', '\\x62', '\\cJ', '\\p{L}', '\\P{Lu}', '\\p{Letter}', '\\p{Lowercase_Letter}',
    '\\p{Script=Greek}', '\\p{gc=Nd}', '\\/', '\\-'];
const classItem = () => one(['a', 'b-c', 'a-z', '0-9', 'é', '😀', '\\d', '\\w', '\\s', '\\S', '\\-', '\\]', '^', '.',
    '\\u0061-\\u0063', '\\b', '\\p{L}', '$', '(', '[', '&', ':', ' ']);
const atom = depth => {
    switch (below(depth > 0 ? 9 : 5)) {
    case 0:
    case 1:
        return one(['a', 'b', 'c', 'é', '😀', '1', ' ', '-', 'A', ':', '#', ',']);
    case 2:
        return '.';
    case 3:
        return one(escapes.filter(e => e !== '\\-'));
    case 4:
        return `[${maybe(0.3) ? '^' : ''}${times(below(4), classItem).join('')}]`;
    case 5:
        return `(${pattern(depth - 1)})`;
    case 6:
        return `(?:${pattern(depth - 1)})`;
    case 7:
        return `(?${one(['=', '!'])}${pattern(depth - 1)})`;
    default:
        return `(?<${one(['=', '!'])}${one(['a', 'b', 'é', '\\d', '[ab]', '^', ''])})`;
    }
};
const piece = depth => {
    if (maybe(0.1))
        return one(['^', '$', '\\b', '\\B']);
    const a = atom(depth);
    if (a.startsWith('(?=') || a.startsWith('(?!') || a.startsWith('(?<') || !maybe(0.35))
        return a;
    return a + one(['*', '+', '?', '{2}', '{1,}', '{0,2}', '*?', '+?', '??', '{1,3}?']);
};
const pattern = depth => times(1 + below(2), () => times(below(4), () => piece(depth)).join('')).join('|');
const wholePattern = () => {
    if (maybe(0.1))
        return one(['(a|b)\\1', '(?<n>.)\\k<n>', '^(a*)b?\\1$', '\\1(a)', '(a)|\\1b', '^(?!a).*$', '^.$', '^..$']);
    return (maybe(0.3) ? '^' : '') + pattern(2) + (maybe(0.3) ? '$' : '');
};

// ---- Values

const scalar = () => {
    switch (below(8)) {
    case 0:
        return null;
    case 1:
        return maybe(0.5);
    case 2:
    case 3:
    case 4:
        return maybe(0.5) ? number() : below(5);
    default:
        return one(texts);
    }
};
const value = depth => {
    const kind = depth > 0 ? below(5) : 0;
    if (kind < 3)
        return scalar();
    if (kind === 3)
        return times(below(maybe(0.05) ? 40 : 4), () => value(depth - 1));
    return Object.fromEntries(some(names, 4).map(name => [name, value(depth - 1)]));
};

// A value that tries to fit the schema, and then often fails at one place.
const fitting = (schema, root, depth) => {
    if (depth <= 0 || typeof schema !== 'object' || maybe(0.12))
        return value(2);
    if (schema.$ref) {
        const key = schema.$ref.split('/').pop();
        return fitting(schema.$ref === '#' ? root : (root.definitions || {})[key] || {}, root, depth - 1);
    }
    if ('const' in schema && maybe(0.8))
        return schema.const;
    if (schema.enum && maybe(0.8))
        return one(schema.enum);
    for (const key of ['allOf', 'anyOf', 'oneOf'])
        if (schema[key] && maybe(0.5))
            return fitting(one(schema[key]), root, depth - 1);
    if (schema.format && formatTexts[schema.format] && maybe(0.8))
        return one(formatTexts[schema.format]);
    const types = [].concat(schema.type || []);
    const type = types.length ? one(types) : schema.properties || schema.patternProperties || schema.required ||
        schema.propertyNames || schema.dependencies ? 'object' : schema.items || schema.contains || schema.uniqueItems ?
        'array' : schema.minimum !== undefined || schema.multipleOf !== undefined ? 'number' : schema.pattern ?
        'string' : 'any';
    switch (type) {
    case 'null':
        return null;
    case 'boolean':
        return maybe(0.5);
    case 'integer':
    case 'number': {
        const limits = ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf']
            .map(key => schema[key]).filter(n => n !== undefined);
        return limits.length ? one(limits) + one([0, 0, 1, -1, 0.5]) : type === 'integer' ? below(10) - 3 : number();
    }
    case 'string':
        return one(texts) + (maybe(0.5) ? one(texts) : '');
    case 'array': {
        const size = Math.min((schema.minItems || 0) + below(4), 8);
        return times(size, (_, i) => fitting(Array.isArray(schema.items) ? i < schema.items.length ? schema.items[i] :
            schema.additionalItems : schema.items, root, depth - 1));
    }
    case 'object': {
        const known = Object.keys(schema.properties || {});
        const wanted = new Set([...(schema.required || []), ...some(known, 4), ...(maybe(0.3) ? some(names, 2) : [])]);
        if (maybe(0.1))
            wanted.delete([...wanted][0]);
        return Object.fromEntries([...wanted].map(name =>
            [name, fitting((schema.properties || {})[name] ?? schema.additionalProperties, root, depth - 1)]));
    }
    default:
        return value(2);
    }
};

// ---- Schemas

const typeNames = ['null', 'boolean', 'integer', 'number', 'string', 'array', 'object'];
const types = () => maybe(0.7) ? one(typeNames) : some(typeNames, 3).concat('string').filter((t, i, l) => l.indexOf(t) === i);

// `here`: definitions that may be referred to without a step into the value.
const keywordMakers = {
    type: s => { s.type = types(); },
    enum: s => { s.enum = [...new Set(times(1 + below(maybe(0.1) ? 30 : 4), () => JSON.stringify(value(2))))].map(t => JSON.parse(t)); },
    const: s => { s.const = value(2); },
    limits: s => {
        for (const key of some(['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum'], 2))
            s[key] = maybe(0.5) ? number() : below(5);
        if (!far && maybe(0.4))
            s.multipleOf = one([1, 2, 3, 0.5, 0.25, 7, 10]);
    },
    lengths: s => {
        if (maybe(0.6))
            s.minLength = below(3);
        if (maybe(0.6))
            s.maxLength = below(4);
    },
    pattern: s => { s.pattern = wholePattern(); },
    format: s => { s.format = maybe(0.95) ? one(formats) : 'no-such-format'; },
    items: (s, d, g) => {
        s.items = maybe(0.6) ? g.schema(d - 1) : times(1 + below(3), () => g.schema(d - 1));
        if (maybe(0.4))
            s.additionalItems = g.schema(d - 1);
    },
    sizes: s => {
        if (maybe(0.5))
            s.minItems = below(3);
        if (maybe(0.5))
            s.maxItems = below(4);
        if (maybe(0.5))
            s.uniqueItems = maybe(0.8);
    },
    contains: (s, d, g) => { s.contains = g.schema(d - 1); },
    properties: (s, d, g) => {
        s.properties = Object.fromEntries(some(names, 4).map(name => [name, g.schema(d - 1)]));
        if (maybe(0.4))
            s.additionalProperties = maybe(0.5) ? false : g.schema(d - 1);
    },
    required: s => { s.required = some(names.filter(name => name), 3); },
    patternProperties: (s, d, g) => {
        s.patternProperties = Object.fromEntries(times(1 + below(2), () => [wholePattern(), g.schema(d - 1)]));
        if (maybe(0.4))
            s.additionalProperties = maybe(0.5) ? false : g.schema(d - 1);
    },
    propertyNames: (s, d, g) => { s.propertyNames = g.schema(d - 1); },
    counts: s => {
        if (maybe(0.6))
            s.minProperties = below(3);
        if (maybe(0.6))
            s.maxProperties = below(4);
    },
    dependencies: (s, d, g) => {
        s.dependencies = Object.fromEntries(some(names, 3).map(name =>
            [name, maybe(0.5) ? some(names.filter(n => n), 2) : g.schema(d - 1, g.here)]));
    },
    allOf: (s, d, g) => { s.allOf = times(1 + below(3), () => g.schema(d - 1, g.here)); },
    anyOf: (s, d, g) => { s.anyOf = times(1 + below(3), () => g.schema(d - 1, g.here)); },
    oneOf: (s, d, g) => { s.oneOf = times(1 + below(3), () => g.schema(d - 1, g.here)); },
    not: (s, d, g) => { s.not = g.schema(d - 1, g.here); },
    if: (s, d, g) => {
        s.if = g.schema(d - 1, g.here);
        if (maybe(0.7))
            s.then = g.schema(d - 1, g.here);
        if (maybe(0.7))
            s.else = g.schema(d - 1, g.here);
    },
    annotations: s => { Object.assign(s, { title: 'x', default: 1, examples: [1], $comment: 'c', contentEncoding: 'base64' }); },
};
const deep = ['items', 'contains', 'properties', 'patternProperties', 'propertyNames', 'dependencies', 'allOf', 'anyOf',
    'oneOf', 'not', 'if'];
const makers = Object.keys(keywordMakers);

const makeSchema = (depth, definitions, here) => {
    const any = Object.keys(definitions);
    const reachable = here === undefined ? any : here;
    if (reachable.length && maybe(0.12))
        return { $ref: here === undefined && maybe(0.2) ? '#' : '#/definitions/' + one(reachable) };
    if (maybe(0.06))
        return maybe(0.7);
    const s = {};
    const g = { here: here === undefined ? [] : here, schema: (d, h) => makeSchema(d, definitions, h) };
    for (let n = 1 + below(3); n > 0; n--) {
        const key = one(makers);
        if (depth > 0 || !deep.includes(key))
            keywordMakers[key](s, depth, g);
    }
    if ('contains' in s) {
        s.minItems = s.minItems || 1;
        if (Array.isArray(s.items))
            delete s.items;
    }
    return s;
};
const document = () => {
    const definitions = {};
    for (let i = below(3); i > 0; i--)
        definitions['d' + i] = true;
    const done = [];
    for (const name of Object.keys(definitions)) {
        definitions[name] = makeSchema(2, definitions, [...done]);
        done.push(name);
    }
    const root = makeSchema(3, definitions, done);
    if (typeof root === 'object' && !root.$ref && done.length)
        root.definitions = definitions;
    return typeof root === 'object' && root.$ref ? { definitions, allOf: [root] } : root;
};

// ---- Comparing

const newAjv = () => addFormats(new Ajv({ strict: false, logger: false, validateFormats: true }));

async function main() {
    console.log(`seed ${seed}, ${pairs} pairs`);
    const child = spawn(program, [], { stdio: ['pipe', 'pipe', 'inherit'] });
    const answers = readline.createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    let ajv = newAjv();
    let compared = 0, accepted = 0, disagreements = 0, malformed = 0;

    for (let round = 0; compared < pairs && disagreements < 10; round++) {
        if (round % 50 === 0)
            ajv = newAjv();
        far = maybe(0.4);
        const schema = JSON.parse(JSON.stringify(document()));
        const data = JSON.parse(JSON.stringify(times(5, () => maybe(0.8) ? fitting(schema, schema, 6) : value(3))));
        let expected;
        try {
            const validate = ajv.compile(schema);
            expected = data.map(d => validate(d) ? '1' : '0').join('');
        } catch (e) {
            expected = 'malformed: ' + e.message;
        }
        child.stdin.write(JSON.stringify({ schema, data }) + '\n');
        const next = await answers.next();
        if (next.done) {
            console.log(`the program ended at schema ${JSON.stringify(schema)} data ${JSON.stringify(data)}`);
            process.exit(1);
        }
        const answer = next.value;
        const bothMalformed = answer.startsWith('malformed') && expected.startsWith('malformed');
        if (answer !== expected && !bothMalformed) {
            disagreements++;
            console.log(`disagreement, seed ${seed}, round ${round}:\n  ajv ${expected}\n  we  ${answer}\n` +
                `  schema ${JSON.stringify(schema)}\n  data ${JSON.stringify(data)}`);
        }
        malformed += bothMalformed;
        if (!bothMalformed)
            compared += data.length;
        accepted += (expected.match(/1/g) || []).length * !bothMalformed;
    }
    child.stdin.end();
    console.log(`${compared} pairs compared, ${accepted} accepted, ${malformed} schemas malformed for both, ` +
        `${disagreements} disagreements`);
    process.exit(disagreements || compared < pairs ? 1 : 0);
}

main();
