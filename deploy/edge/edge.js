// What nginx cannot say in its configuration: whether a link is good, and how storage is asked.
import crypto from 'crypto';

// The kinds of files that a token may name, and the names each is good for.
const KINDS = { media: /^(?!thumbnail(?:\.|$))/, thumbnail: /^thumbnail(?:\.[a-z]+)?$/ };

// /v/<key id>.<expiry, hex seconds>.<company>.<kind>.<HMAC>/<asset>/<attempt-fence>/<name>
const LINK = /^\/v\/([a-z0-9]{1,16})\.([0-9a-f]{1,12})\.([0-9a-f-]{36})\.([a-z]+)\.([A-Za-z0-9_-]{43})\/([0-9a-f-]{36})\/([0-9]+(?:-[0-9]+)?)\/((?:[A-Za-z0-9][A-Za-z0-9._-]*\/)*[A-Za-z0-9][A-Za-z0-9._-]*)$/;

// The query of an upload, exactly as the sign API gives it out.
const GRANT = /^X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=[A-Za-z0-9%._-]+&X-Amz-Date=(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z&X-Amz-Expires=(\d{1,6})&X-Amz-SignedHeaders=content-length%3Bcontent-type%3Bhost&size=(\d{1,12})&type=([a-z0-9%.+-]+)&X-Amz-Signature=[0-9a-f]{64}$/i;

// That of one part of an upload, likewise.
const PART = /^X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=[A-Za-z0-9%._-]+&X-Amz-Date=(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z&X-Amz-Expires=(\d{1,6})&X-Amz-SignedHeaders=content-length%3Bhost&partNumber=\d{1,5}&size=(\d{1,12})&uploadId=[A-Za-z0-9%._~-]{1,512}&X-Amz-Signature=[0-9a-f]{64}$/;

// The secret of each key id: EDGE_KEYS is "id:secret,id:secret", and the first one signs.
const SECRETS = {};
(process.env.EDGE_KEYS || '').split(',').forEach(pair => {
    const at = pair.indexOf(':');
    if (at > 0) { SECRETS[pair.slice(0, at)] = pair.slice(at + 1); }
});

/** Whether two tokens of 43 characters are the same, in a time that tells not where they differ. */
function same(one, other) {
    const a = Buffer.from(one), b = Buffer.from(other);
    let difference = a.readInt32LE(39) ^ b.readInt32LE(39);
    for (let i = 0; i < 40; i += 4) { difference |= a.readInt32LE(i) ^ b.readInt32LE(i); }
    return difference === 0;
}

/** The path of the object that a link leads to, or 'refused', or 'expired'. */
function link(r) {
    const part = LINK.exec(r.uri);
    if (!part) { return 'refused'; }
    const secret = SECRETS[part[1]];
    const names = KINDS[part[4]];
    if (!secret || !names || !names.test(part[8])) { return 'refused'; }
    const signed = [part[1], part[2], part[3], part[4], part[6]].join('.');
    const expected = crypto.createHmac('sha256', secret).update(signed).digest('base64url');
    if (!same(part[5], expected)) { return 'refused'; }
    if (parseInt(part[2], 16) <= Date.now() / 1000) { return 'expired'; }
    const bucket = r.variables.bucket_prefix + part[3];
    return ['', bucket, part[3], 'outputs', part[6], part[7], part[8]].join('/');
}

/**
 * Whether an upload is what its grant says: 'good', or 'part' of one, or 'refused', or 'expired'.
 * Storage checks the signature of all that; what differs never reaches it, so it cannot be made to
 * read a body.
 */
function grant(r) {
    const whole = GRANT.exec(r.variables.args || '');
    const said = whole || PART.exec(r.variables.args || '');
    if (!said) { return 'refused'; }
    const signed = Date.UTC(said[1], said[2] - 1, said[3], said[4], said[5], said[6]) / 1000;
    if (signed + Number(said[7]) <= Date.now() / 1000) { return 'expired'; }
    if (r.variables.content_length !== said[8]) { return 'refused'; }
    if (!whole) { return 'part'; }
    return r.variables.content_type === decodeURIComponent(said[9]) ? 'good' : 'refused';
}

/** Now, as signatures of requests to storage have it: 20261128T120000Z. */
function time(r) {
    return new Date().toISOString().replace(/[-:]|\.\d+/g, '');
}

/** AWS Signature Version 4 of the GET that fetches the object. */
function authorization(r) {
    const at = r.variables.s3_time;
    const region = process.env.S3_REGION || 'us-east-1';
    const scope = [at.slice(0, 8), region, 's3', 'aws4_request'];
    const names = 'host;x-amz-content-sha256;x-amz-date';
    const request = ['GET', r.variables.link, '', 'host:storage',
        'x-amz-content-sha256:UNSIGNED-PAYLOAD', 'x-amz-date:' + at, '', names,
        'UNSIGNED-PAYLOAD'].join('\n');
    const digest = crypto.createHash('sha256').update(request).digest('hex');
    const text = ['AWS4-HMAC-SHA256', at, scope.join('/'), digest].join('\n');
    let key = 'AWS4' + process.env.EDGE_S3_SECRET_KEY;
    scope.forEach(word => { key = crypto.createHmac('sha256', key).update(word).digest(); });
    const signature = crypto.createHmac('sha256', key).update(text).digest('hex');
    return 'AWS4-HMAC-SHA256 Credential=' + process.env.EDGE_S3_ACCESS_KEY + '/' + scope.join('/')
        + ', SignedHeaders=' + names + ', Signature=' + signature;
}

/** Prometheus's text format. */
function metrics(r) {
    const lines = ['# HELP edge_connections Connections of clients, by what they do.',
        '# TYPE edge_connections gauge'];
    ['active', 'reading', 'writing', 'waiting'].forEach(state => {
        lines.push('edge_connections{state="' + state + '"} '
            + r.variables['connections_' + state]);
    });
    r.headersOut['Content-Type'] = 'text/plain; version=0.0.4';
    r.return(200, lines.join('\n') + '\n');
}

export default { link, grant, time, authorization, metrics };
