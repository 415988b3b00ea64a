"""Error messages of providers: no credit, content filter, context too long, unknown model."""

import json

from tests.llm.providers.wire import Response, refusal


def by_proxy(status: int, message: str, code: str) -> Response:
    """The same error through litellm's proxy, which quotes the provider's JSON with every Chinese character escaped."""
    error = json.dumps({"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}})
    said = f"litellm.BadRequestError: Hosted_vllmException - {error}\n\nLiteLLM: model group 'b' failed."
    return refusal(status, said, code=str(status))


# What providers say when the account is empty.
MONEY = {
    "deepseek": lambda: refusal(402, "Insufficient Balance", code="invalid_request_error"),
    "openai": lambda: refusal(429, "You exceeded your current quota.", code="insufficient_quota"),
    "zhipu": lambda: refusal(429, "您的账户已欠费，请充值后重试。", code="1113"),
    "anthropic": lambda: refusal(400, "Your credit balance is too low to access the Anthropic API."),
    "openrouter": lambda: refusal(402, "This request requires more credits, or fewer max_tokens.", code=402),
    "siliconflow": lambda: refusal(403, "Sorry, your account balance is insufficient", code=30001),
    "alibaba": lambda: refusal(
        400, "Access denied, please make sure your account is in good standing.", code="Arrearage"
    ),
    "moonshot": lambda: refusal(429, "Your account is suspended.", code="exceeded_current_quota_error"),
    "plain": lambda: refusal(402, "Pay."),
    "zhipu_by_proxy": lambda: by_proxy(429, "您的账户已欠费，请充值后重试。", "1113"),
    "proxy": lambda: refusal(
        422, "Budget has been exceeded! Current cost: 5.01, Max budget: 5.0", type="budget_exceeded", code="422"
    ),
}
# What providers say when a filter turns a prompt away.
FILTERS = {
    "alibaba": lambda: refusal(400, "Input data may contain inappropriate content.", code="data_inspection_failed"),
    "zhipu": lambda: refusal(400, "系统检测到输入或生成内容可能包含不安全或敏感内容。", code="1301"),
    "zhipu_by_proxy": lambda: by_proxy(400, "系统检测到输入或生成内容可能包含不安全或敏感内容。", "1301"),
    "deepseek": lambda: refusal(400, "Content Exists Risk", code="invalid_request_error"),
    "moonshot": lambda: refusal(400, "The request was rejected because it was considered high risk"),
    "openai": lambda: refusal(
        400, "Invalid prompt: your prompt was flagged as potentially violating our usage policy.", code="invalid_prompt"
    ),
    "azure": lambda: refusal(400, "The response was filtered due to Azure OpenAI's content management policy."),
    "anthropic": lambda: refusal(400, "Output blocked by content filtering policy"),
    "openrouter": lambda: refusal(403, "Your chosen model requires moderation and your input was flagged", code=403),
}  # fmt: skip
TOO_LONG = {
    "vllm": lambda: refusal(400, "This model's maximum context length is 4096 tokens. However, you requested 9000."),
    "vllm_max_tokens": lambda: refusal(
        400,
        "'max_tokens' or 'max_completion_tokens' is too large: 8192. This model's maximum context length is 4096 "
        "tokens and your request has 808 input tokens.",
    ),
    "sglang": lambda: refusal(400, "Requested token count exceeds the model's maximum context length of 4096 tokens."),
    "llamacpp": lambda: refusal(
        400, "the request exceeds the available context size (4096 tokens), try increasing it", code=400
    ),
    "anthropic": lambda: refusal(400, "prompt is too long: 210000 tokens > 200000 maximum"),
    "alibaba": lambda: refusal(400, "Range of input length should be [1, 30720]", code="InvalidParameter"),
}
UNKNOWN_MODELS = {
    "openai": lambda: refusal(404, "The model `b` does not exist or you do not have access.", code="model_not_found"),
    "deepseek": lambda: refusal(400, "Model Not Exist", code="invalid_request_error"),
    "zhipu": lambda: refusal(400, "模型不存在，请检查模型代码。", code="1211"),
    "proxy": lambda: refusal(
        400, "/chat/completions: Invalid model name passed in model=b. Call `/v1/models`.", code="400"
    ),
}
