"""The chat template of the built-in model: who speaks, which tools there are, and whether to think first."""

# It opens with the begin marker itself: rendered conversations are tokenised without adding special tokens.
# A tool is one line, such as `get_weather(city: string, unit?: celsius|fahrenheit): the weather in a city`: its JSON
# Schema would take a tenth of the context. Thoughts are shown in the last message only, which is where the model writes
# them; those of earlier turns would cost context, and a parser that looks for `</think>` would find theirs.
CHAT_TEMPLATE = """\
{%- macro signature(function) -%}
    {%- set parameters = function.parameters or {} -%}
    {{- function.name + '(' -}}
    {%- for name, schema in (parameters.properties or {}).items() -%}
        {{- ', ' if not loop.first -}}
        {{- name + (': ' if name in (parameters.required or []) else '?: ') -}}
        {%- set kind = schema.enum or schema.type or 'any' -%}
        {{- kind if kind is string else kind | join('|') -}}
    {%- endfor -%}
    {{- ')' -}}
    {{- ': ' + function.description.split('\\n')[0] if function.description -}}
{%- endmacro -%}
{%- macro call(function) -%}
    {%- set arguments = function.arguments or {} -%}
    {{- '<tool_call>\\n{"name": ' + function.name | tojson + ', "arguments": ' -}}
    {{- (arguments if arguments is string else arguments | tojson) + '}\\n</tool_call>' -}}
{%- endmacro -%}
{{- bos_token -}}
{%- if tools -%}
    {{- '<|system|>Tools:' -}}
    {%- for tool in tools -%}
        {{- '\\n' + signature(tool.function or tool) -}}
    {%- endfor -%}
    {{- '<|end|>' -}}
{%- endif -%}
{%- for message in messages -%}
    {%- set thoughts = message.reasoning or message.reasoning_content -%}
    {%- if message.role in ('system', 'developer') -%}
        {{- '<|system|>' -}}
    {%- elif message.role in ('user', 'tool') -%}
        {{- '<|' + message.role + '|>' -}}
    {%- elif message.role != 'assistant' -%}
        {{- raise_exception('the built-in model knows no role ' + message.role) -}}
    {%- elif thoughts and loop.last -%}
        {{- '<|think|><|assistant|><think>\\n' + thoughts | trim + '\\n</think>\\n\\n' -}}
    {%- else -%}
        {{- '<|assistant|>' -}}
    {%- endif -%}
    {%- set content = (message.content or '') | trim -%}
    {{- content -}}
    {%- for tool_call in message.tool_calls or [] -%}
        {{- ('\\n' if content or not loop.first else '') + call(tool_call.function or tool_call) -}}
    {%- endfor -%}
    {{- '<|end|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- ('<|think|>' if enable_thinking else '') + '<|assistant|>' -}}
{%- endif -%}
"""
