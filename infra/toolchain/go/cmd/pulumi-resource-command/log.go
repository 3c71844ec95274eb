// What the user sees while a command runs: its output line by line, retries, refused variables. The engine shows them;
// without an engine they are dropped.
package main

import (
	"bytes"
	"context"
	"io"
	"strings"
	"time"

	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
)

// longestLine is the most that is logged as one line; a longer one comes in pieces. The official plugin hangs there.
const longestLine = 64 * 1024

// logTimeout bounds one message to an engine that does not answer any more.
const logTimeout = 5 * time.Second

// logger sends the messages of one resource in order, without making the command wait for the engine.
type logger struct {
	urn   string
	mask  mask
	queue chan *pulumirpc.LogRequest
	done  chan struct{}
}

func newLogger(engine pulumirpc.EngineClient, urn string) *logger {
	l := &logger{urn: urn, mask: newMask(), queue: make(chan *pulumirpc.LogRequest, 1024), done: make(chan struct{})}
	go func() {
		defer close(l.done)
		for request := range l.queue {
			if engine == nil {
				continue
			}
			ctx, cancel := context.WithTimeout(context.Background(), logTimeout)
			// Nothing can be done about a message that does not arrive.
			_, _ = engine.Log(ctx, request)
			cancel()
		}
	}()
	return l
}

// flush waits until everything is sent; the logger is not used after it.
func (l *logger) flush() {
	close(l.queue)
	<-l.done
}

func (l *logger) send(severity pulumirpc.LogSeverity, ephemeral bool, message string) {
	l.queue <- &pulumirpc.LogRequest{
		Severity: severity, Urn: l.urn, Ephemeral: ephemeral,
		Message: strings.ToValidUTF8(l.mask.apply(message), "\uFFFD"),
	}
}

// status is shown beside the resource while it is worked on and not kept.
func (l *logger) status(message string) { l.send(pulumirpc.LogSeverity_INFO, true, message) }

// problem is kept: an error, or a warning.
func (l *logger) problem(isError bool, message string) {
	severity := pulumirpc.LogSeverity_WARNING
	if isError {
		severity = pulumirpc.LogSeverity_ERROR
	}
	l.send(severity, false, message)
}

// lineWriter cuts a stream into lines and logs them.
type lineWriter struct {
	log    *logger
	buffer bytes.Buffer
}

// lines gives the writer for a stream, which logs nothing when the `logging` input does not ask for that stream.
func (l *logger) lines(stream string, inputs object) *lineWriter {
	wanted, set := text(inputs, "logging")
	if !set || wanted == "stdoutAndStderr" || wanted == stream {
		return &lineWriter{log: l}
	}
	return &lineWriter{}
}

var _ io.Writer = (*lineWriter)(nil)

func (w *lineWriter) Write(data []byte) (int, error) {
	if w.log == nil {
		return len(data), nil
	}
	w.buffer.Write(data)
	for {
		pending := w.buffer.Bytes()
		length := bytes.IndexByte(pending, '\n')
		switch {
		case length >= 0:
			w.line(w.buffer.Next(length + 1)[:length])
		case len(pending) >= longestLine:
			w.line(w.buffer.Next(longestLine))
		default:
			return len(data), nil
		}
	}
}

// end logs what came after the last newline.
func (w *lineWriter) end() {
	if w.buffer.Len() > 0 {
		w.line(w.buffer.Next(w.buffer.Len()))
	}
}

func (w *lineWriter) line(line []byte) { w.log.status(strings.TrimSuffix(string(line), "\r")) }
