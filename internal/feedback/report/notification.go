package report

import (
	"encoding/json"
	"strings"
)

// sns is a notification of Amazon SES that Amazon SNS sends as a message.
type sns struct {
	Message string
}

// sesNotice is what Amazon SES reports in JSON.
type sesNotice struct {
	NotificationType, EventType string
	Bounce                      struct {
		BounceType        string
		BouncedRecipients []struct{ EmailAddress, Action, Status, DiagnosticCode string }
	}
	Complaint struct {
		ComplainedRecipients  []struct{ EmailAddress string }
		ComplaintFeedbackType string
	}
	Delivery struct {
		Recipients   []string
		SMTPResponse string `json:"smtpResponse"`
	}
}

// notification reads a notification of Amazon SES in JSON.
func notification(v *view) (findings []Finding) {
	start := strings.IndexByte(v.text, '{')
	if start < 0 || !strings.Contains(v.text, "otificationType") && !strings.Contains(v.text, "eventType") {
		return nil
	}
	text := strings.NewReplacer("!\n ", "", "\n", "").Replace(v.text[start:])
	var outer sns
	if json.NewDecoder(strings.NewReader(text)).Decode(&outer) == nil && outer.Message != "" {
		text = outer.Message
	}
	var n sesNotice
	if json.NewDecoder(strings.NewReader(text)).Decode(&n) != nil {
		return nil
	}
	switch n.NotificationType + n.EventType {
	case "Bounce":
		for _, r := range n.Bounce.BouncedRecipients[:min(len(n.Bounce.BouncedRecipients), maxRecipients)] {
			e := evidence{action: "failed", status: r.Status, diagnostic: r.DiagnosticCode}
			f := e.finding()
			f.final = r.EmailAddress
			findings = append(findings, f)
		}
	case "Complaint":
		for _, r := range n.Complaint.ComplainedRecipients[:min(len(n.Complaint.ComplainedRecipients), maxRecipients)] {
			findings = append(findings, Finding{Class: Complaint, final: r.EmailAddress})
		}
	case "Delivery":
		for _, r := range n.Delivery.Recipients[:min(len(n.Delivery.Recipients), maxRecipients)] {
			findings = append(findings, Finding{Class: Delivered, Diagnostic: short(n.Delivery.SMTPResponse), final: r})
		}
	}
	return findings
}
