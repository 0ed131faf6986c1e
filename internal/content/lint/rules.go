package lint

import "slices"

// Code names a kind of finding. Scripts and --despite use codes, so a code keeps its meaning.
type Code string

// The codes. [Rules] has them in the order of the documents.
const (
	UnsubscribeMissing     Code = "unsubscribe-missing"
	UnsubscribeNotOneClick Code = "unsubscribe-not-one-click"
	UnsubscribeUnsigned    Code = "unsubscribe-unsigned"
	UnsubscribeLocal       Code = "unsubscribe-local"
	UnsubscribeNone        Code = "unsubscribe-none"
	UnsubscribeNoneBulk    Code = "unsubscribe-none-bulk"
	UnsubscribeLinkMissing Code = "unsubscribe-link-missing"

	FromFreemail       Code = "from-freemail"
	FromNoReply        Code = "from-no-reply"
	EnvelopeNotAligned Code = "envelope-not-aligned"
	ReplyToFreemail    Code = "reply-to-freemail"
	ReplyToOtherDomain Code = "reply-to-other-domain"
	ToNotPersonal      Code = "to-not-personal"
	HeaderInvalid      Code = "header-invalid"
	LineTooLong        Code = "line-too-long"

	DKIMKeyMissing Code = "dkim-key-missing"
	DKIMKeyNotRead Code = "dkim-key-not-read"
	DKIMNotAligned Code = "dkim-not-aligned"

	SubjectLong      Code = "subject-long"
	SubjectCapitals  Code = "subject-capitals"
	SubjectFakeReply Code = "subject-fake-reply"

	BodyBlank     Code = "body-blank"
	TextMissing   Code = "text-missing"
	HTMLTooLarge  Code = "html-too-large"
	HTMLActive    Code = "html-active"
	HiddenContent Code = "hidden-content"
	MergeTag      Code = "merge-tag"
	ImagesOnly    Code = "images-only"

	LinkMalformed  Code = "link-malformed"
	LinkEmpty      Code = "link-empty"
	LinkPrivate    Code = "link-private-host"
	LinkIP         Code = "link-ip-address"
	LinkInsecure   Code = "link-insecure"
	LinkMisleading Code = "link-misleading"

	ImageBroken   Code = "image-broken"
	ImageData     Code = "image-data"
	ImageInsecure Code = "image-insecure"
	ImageAlt      Code = "image-alt-missing"

	DKIMRecordMissing  Code = "dkim-record-missing"
	DKIMRecordMismatch Code = "dkim-record-mismatch"
	DKIMRecordTesting  Code = "dkim-record-testing"
	SPFMissing         Code = "spf-missing"
	SPFInvalid         Code = "spf-invalid"
	SPFNotAllowed      Code = "spf-not-allowed"
	SPFAllowsAll       Code = "spf-allows-all"
	DMARCMissing       Code = "dmarc-missing"
	DMARCInvalid       Code = "dmarc-invalid"
	DMARCNotAligned    Code = "dmarc-not-aligned"
	DMARCNone          Code = "dmarc-none"
	PTRMissing         Code = "ptr-missing"
	MXMissing          Code = "mx-missing"
	DNSUnknown         Code = "dns-unknown"

	SampleMissing Code = "sample-missing"
	PagesNotSeen  Code = "pages-not-checked"
)

// Rule describes a code for people.
type Rule struct {
	Code     Code
	Severity Severity
	Meaning  string // what is wrong, and why it matters
	Action   string // what to do, without a full stop
}

// Rules returns the rules of all codes.
func Rules() []Rule { return slices.Clone(rules) }

// Rule returns the rule of the code, which must exist.
func (c Code) Rule() Rule { return rules[c.index()] }

// Known reports whether there is such a code.
func (c Code) Known() bool { return c.index() >= 0 }

func (c Code) index() int { return slices.IndexFunc(rules, func(r Rule) bool { return r.Code == c }) }

var rules = []Rule{
	{UnsubscribeMissing, Error,
		"The message has no List-Unsubscribe header. Gmail, Yahoo and Microsoft refuse bulk mail without it",
		"set DM_PUBLIC_URL and DM_TOKEN_KEYS here and in the workers, or write `unsubscribe: none` if the mailing is " +
			"no bulk mail"},
	{UnsubscribeNotOneClick, Error,
		"The List-Unsubscribe header has no https address, or List-Unsubscribe-Post is missing (RFC 8058)",
		"set DM_PUBLIC_URL to an https address"},
	{UnsubscribeUnsigned, Error,
		"The DKIM signature does not cover the two unsubscribe headers, so receivers ignore them (RFC 8058)",
		"sign both headers: the keys of DM_DKIM do"},
	{UnsubscribeNoneBulk, Error,
		"The mailing says `unsubscribe: none`, and goes to more than 5,000 recipients. Receivers take it for bulk mail",
		"remove `unsubscribe: none`, or give --despite for mail that the law demands"},
	{UnsubscribeLocal, Warning,
		"DM_PUBLIC_URL leads to this machine, so the links to unsubscribe work only here",
		"before you mail others, set DM_PUBLIC_URL to the https address that leads to the public listener"},
	{UnsubscribeNone, Warning,
		"The mailing says `unsubscribe: none`",
		"keep it only for mail that each recipient has asked for, such as a receipt"},
	{UnsubscribeLinkMissing, Warning,
		"The body has no link to unsubscribe. Many laws demand one, and people who find none complain instead",
		"add a link with {{.unsubscribe_url}}"},

	{FromFreemail, Error,
		"From is at a mail provider for the public, such as gmail.com or yahoo.com. Receivers refuse such mail from " +
			"any other server (DMARC)",
		"send from a domain of your own"},
	{HeaderInvalid, Error,
		"A header field is missing, is there twice, or cannot be read (RFC 5322)",
		"correct the mailing's headers"},
	{LineTooLong, Error,
		"A line is longer than 998 octets. Servers break it, or refuse the message (RFC 5322)",
		"shorten the value of the header field"},
	{ToNotPersonal, Error,
		"To is not the one address of the recipient",
		"leave To to the mailer"},
	{EnvelopeNotAligned, Warning,
		"The envelope sender has another domain than From. SPF then does not count for DMARC, and only DKIM does",
		"set envelope_sender to an address of From's domain, or of a domain below it"},
	{ReplyToFreemail, Warning,
		"Reply-To is at a mail provider for the public, and From is not. Filters know this from fraud",
		"set reply_to to an address of your own domain"},
	{ReplyToOtherDomain, Note,
		"Reply-To has another domain than From",
		"check that you receive the replies"},
	{FromNoReply, Note,
		"Replies go to an address that says that nobody reads them. Replies are what receivers trust most",
		"set reply_to to an address that somebody reads"},

	{DKIMNotAligned, Error,
		"No DKIM signature is of From's domain, so the signature does not count for DMARC",
		"add a key for From's domain to DM_DKIM"},
	{DKIMKeyMissing, Warning,
		"DM_DKIM of this shell has no key for From's domain, so the messages of the sample have no DKIM signature. " +
			"Receivers refuse bulk mail without one",
		"make a key with `starter dkim new`, or make sure that the relay signs"},
	{DKIMKeyNotRead, Note,
		"DM_DKIM has a key for From's domain, and this shell cannot read the key. The sample is not signed",
		"check where the workers run"},

	{SubjectLong, Warning,
		"The subject has more than 100 characters. Phones show about 40 of them, other programs about 70",
		"shorten the subject"},
	{SubjectCapitals, Warning,
		"The subject is all capitals, as filters know it from spam",
		"write the subject in ordinary letters"},
	{SubjectFakeReply, Warning,
		"The subject begins like a reply or a forwarded message. Receivers call this misleading",
		"remove \"Re:\" or \"Fwd:\""},

	{BodyBlank, Error,
		"The message has neither a visible text nor an image",
		"check the content, and the values that it depends on"},
	{TextMissing, Warning,
		"The message has no text part, or a blank one. Filters expect it, and some people read only text",
		"give content.text"},
	{HTMLTooLarge, Warning,
		"The HTML part is larger than 100 KB. Gmail cuts it off there, with the unsubscribe link at its end",
		"shorten the HTML, and put styles and images on a web server"},
	{HTMLActive, Warning,
		"The HTML has scripts, forms, frames or embedded objects. Mail programs remove them, and filters count them",
		"replace them by a link"},
	{HiddenContent, Warning,
		"The HTML hides text from the reader, other than a short preview text at its beginning. Filters look for this",
		"remove the text, or show it"},
	{MergeTag, Warning,
		"The message shows what looks like a merge tag that nobody has replaced",
		"write fields as {{.first_name}}"},
	{ImagesOnly, Warning,
		"The HTML has images and next to no text. Filters know this from spam, and many programs load no images",
		"write the text as text"},

	{LinkMalformed, Error,
		"A link cannot work: it is no complete URL, is relative, or has a scheme that mail programs block",
		"write the whole address, such as https://www.example.com/page"},
	{LinkEmpty, Error,
		"A link leads nowhere: its address is empty or #",
		"give the link an address, or remove it"},
	{LinkPrivate, Error,
		"A link leads to a host that only a private network knows",
		"use a host with a public name"},
	{LinkIP, Warning,
		"A link leads to an IP address, as filters know it from fraud",
		"use a host with a name"},
	{LinkMisleading, Warning,
		"The text of a link shows another host than the link leads to. Filters and mail programs warn of this",
		"show the host that the link leads to, or other words"},
	{LinkInsecure, Warning,
		"A link uses http. Browsers warn of such pages",
		"write https"},

	{ImageBroken, Error,
		"An image cannot be shown: its address is empty, relative, malformed, private, or names a missing attachment",
		"write the whole https address of the image"},
	{ImageData, Warning,
		"An image stands in the message itself as a data: URL. Gmail and Outlook do not show it",
		"put the image on a web server"},
	{ImageInsecure, Warning,
		"An image is fetched by http. Mail programs may not show it",
		"write https"},
	{ImageAlt, Warning,
		"An image has no alt text. Readers without images, or with a screen reader, miss it",
		"add alt=\"…\", or alt=\"\" for mere decoration"},

	{DKIMRecordMissing, Error,
		"The DNS has no record of a key that signs the messages. Receivers then take the signature for false",
		"add the record that `starter dkim record` prints"},
	{DKIMRecordMismatch, Error,
		"The DNS record of a key is damaged, is revoked, is there twice, or has another key than the one that signs",
		"replace the record by the one that `starter dkim record` prints"},
	{SPFMissing, Error,
		"The domain of the envelope sender has no SPF record. Gmail and Yahoo demand one of bulk senders",
		"add a TXT record such as \"v=spf1 mx -all\" that names your mail servers"},
	{SPFInvalid, Error,
		"The SPF record cannot be evaluated: it is there twice, has a mistake, or needs more than ten lookups",
		"correct the record"},
	{SPFNotAllowed, Error,
		"The SPF record does not allow an address of --from-ip to send",
		"add the address to the record"},
	{DMARCMissing, Error,
		"From's domain has no DMARC record. Gmail and Yahoo demand one of bulk senders",
		"add a TXT record at _dmarc, such as \"v=DMARC1; p=none; rua=mailto:you@example.com\""},
	{DMARCInvalid, Error,
		"The DMARC record has a mistake, or is there twice. Receivers then ignore it",
		"correct the record"},
	{DMARCNotAligned, Error,
		"Neither the envelope sender's domain nor that of a DKIM key is aligned with From's domain. DMARC then fails. " +
			"It is a warning where this shell knows no key, because a relay may sign",
		"add a key for From's domain to DM_DKIM"},
	{PTRMissing, Error,
		"An address of --from-ip has no name in the DNS, or one that does not lead back to it. Gmail refuses such mail",
		"let the owner of the address, most often your provider, set its name"},
	{MXMissing, Error,
		"No server takes mail for the domain of the envelope sender, so bounces are lost, and some receivers refuse " +
			"the mail",
		"add an MX record"},
	{DNSUnknown, Warning,
		"A record could not be looked up. It may be there or not",
		"check the server of --resolver, and check again"},
	{DKIMRecordTesting, Warning,
		"The record of a key says that the domain tests DKIM (t=y). Receivers then may ignore the signature",
		"remove t=y from the record"},
	{SPFAllowsAll, Warning,
		"The SPF record allows every address to send",
		"end the record with -all or ~all"},
	{DMARCNone, Note,
		"The DMARC record says p=none: receivers only report forged mail, and do not refuse it",
		"read the reports, then write p=quarantine or p=reject"},

	{SampleMissing, Warning,
		"No message was looked at, because no recipient could be read or rendered",
		"give this shell access to the audience"},
	{PagesNotSeen, Note,
		"The body of the messages was not looked at, because it is a page that is fetched later",
		"look at a message with `starter preview`"},
}
