//! Derive of `skiff_disk::error::Diagnostic`: states who is at fault, and what to do, beside the message.
//!
//! Keys, on a variant, or on the enum for the variants without that key:
//!
//! - `kind = Input`: a variant of `ErrorKind`, or an expression such as `*kind`.
//! - `hint = "text"`: with `{field}` as in `format!`; `hint("text {}", expression)`; or `hint = expression`, which
//!   gives a `String` or an `Option<String>` (`hint = None`: no hint, whatever the enum has).
//! - `suggestion = expression`: an `Option`; when there is something in it, the hint is "did you mean `it`?" instead.
//! - `code = "word"`, or an expression that gives an `Option<&'static str>`.
//! - `exit_code = expression`.
//! - `transparent`: everything that has no key on the variant comes from the field of the variant: the only one, or
//!   the one with `#[from]` or `#[source]` or the name `source`. `forward(field)` names it.
//!
//! Expressions see the fields as references, under their names or as `_0`, `_1`.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, format_ident, quote};
use syn::parse::ParseStream;
use syn::{Attribute, Data, DeriveInput, Error, Fields, Ident, LitStr, Result, Token, parenthesized};

/// Implements `skiff_disk::error::Diagnostic` from `#[diagnostic(...)]`; see the documentation of the crate.
#[proc_macro_derive(Diagnostic, attributes(diagnostic))]
pub fn derive_diagnostic(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = syn::parse_macro_input!(input as DeriveInput);
    expand(&input).unwrap_or_else(Error::into_compile_error).into()
}

/// Implementation of the trait for `input`.
fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let cases = cases(input)?;
    let kind = method(&cases, Case::kind)?;
    let hint = method(&cases, Case::hint)?;
    let code = method(&cases, Case::code)?;
    let exit_code = method(&cases, Case::exit_code)?;
    let name = &input.ident;
    let (generics, arguments, bounds) = input.generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        #[allow(unused_imports, unused_variables)]
        impl #generics ::skiff_disk::error::Diagnostic for #name #arguments #bounds {
            fn kind(&self) -> ::skiff_disk::error::ErrorKind {
                #kind
            }
            fn exit_code(&self) -> u8 {
                #exit_code
            }
            fn hint(&self) -> ::core::option::Option<::std::string::String> {
                #hint
            }
            fn code(&self) -> ::core::option::Option<&'static str> {
                #code
            }
        }
    })
}

/// Body of a method: one arm for each case.
fn method(cases: &[Case], answer: impl Fn(&Case) -> Result<TokenStream>) -> Result<TokenStream> {
    let arms = cases.iter().map(|case| {
        let (pattern, answer) = (&case.pattern, answer(case)?);
        Ok(quote!(#pattern => #answer,))
    });
    let arms = arms.collect::<Result<TokenStream>>()?;
    Ok(quote! {
        use ::skiff_disk::error::Diagnostic as _;
        match self { #arms }
    })
}

/// A variant of an enum, or a struct.
struct Case {
    /// Binds all fields.
    pattern: TokenStream,
    /// Field that answers for what has no key.
    inner: Option<Ident>,
    own: Keys,
    of_enum: Keys,
    /// Place of messages about the case.
    span: Span,
}

/// Cases of an enum in order, or the one of a struct.
fn cases(input: &DeriveInput) -> Result<Vec<Case>> {
    let outer = Keys::from_attributes(&input.attrs)?;
    match &input.data {
        Data::Struct(data) => {
            Ok(vec![Case::new(quote!(Self), &data.fields, outer, Keys::default(), input.ident.span())?])
        }
        Data::Enum(data) => data
            .variants
            .iter()
            .map(|variant| {
                let (name, own) = (&variant.ident, Keys::from_attributes(&variant.attrs)?);
                Case::new(quote!(Self::#name), &variant.fields, own, outer.clone(), name.span())
            })
            .collect(),
        Data::Union(_) => Err(Error::new(input.ident.span(), "an error is an enum or a struct")),
    }
}

impl Case {
    fn new(path: TokenStream, fields: &Fields, own: Keys, of_enum: Keys, span: Span) -> Result<Case> {
        let (bindings, pattern) = match fields {
            Fields::Unit => (Vec::new(), path),
            Fields::Named(_) => {
                let names: Vec<Ident> = fields.iter().filter_map(|field| field.ident.clone()).collect();
                let pattern = quote!(#path { #(#names),* });
                (names, pattern)
            }
            Fields::Unnamed(_) => {
                let names: Vec<Ident> = (0..fields.len()).map(|number| format_ident!("_{number}")).collect();
                let pattern = quote!(#path(#(#names),*));
                (names, pattern)
            }
        };
        let inner = match &own.forward {
            None => None,
            Some(Forward::Field(name)) => Some(name.clone()),
            Some(Forward::Source) => Some(source(fields, &bindings).ok_or_else(|| {
                Error::new(span, "`transparent` needs one field, or one with `#[from]` or `#[source]`")
            })?),
        };
        Ok(Case { pattern, inner, own, of_enum, span })
    }

    /// Tokens of a key: those of the case, else what its inner error answers, else those of the enum.
    fn answer(&self, key: impl Fn(&Keys) -> Option<TokenStream>, method: &str) -> Option<TokenStream> {
        let method = Ident::new(method, Span::call_site());
        let forwarded = || self.inner.as_ref().map(|inner| quote!(#inner.#method()));
        key(&self.own).or_else(forwarded).or_else(|| key(&self.of_enum))
    }

    fn kind(&self) -> Result<TokenStream> {
        self.answer(|keys| keys.kind.clone(), "kind")
            .ok_or_else(|| Error::new(self.span, "`kind` is missing"))
    }

    fn hint(&self) -> Result<TokenStream> {
        let hint =
            self.answer(|keys| keys.hint.clone(), "hint").unwrap_or(quote!(::core::option::Option::None));
        Ok(match &self.own.suggestion {
            None => hint,
            Some(suggestion) => {
                quote!(::skiff_disk::value::did_you_mean((#suggestion).as_ref()).or_else(|| #hint))
            }
        })
    }

    fn code(&self) -> Result<TokenStream> {
        Ok(self.answer(|keys| keys.code.clone(), "code").unwrap_or(quote!(::core::option::Option::None)))
    }

    fn exit_code(&self) -> Result<TokenStream> {
        let of_kind = || quote!(self.kind().exit_code());
        Ok(self.answer(|keys| keys.exit_code.clone(), "exit_code").unwrap_or_else(of_kind))
    }
}

/// Field that `transparent` forwards to.
fn source(fields: &Fields, bindings: &[Ident]) -> Option<Ident> {
    let marked = |field: &syn::Field| {
        let attribute = |it: &Attribute| it.path().is_ident("from") || it.path().is_ident("source");
        field.attrs.iter().any(attribute) || field.ident.as_ref().is_some_and(|name| name == "source")
    };
    match bindings {
        [only] => Some(only.clone()),
        _ => fields.iter().position(marked).map(|number| bindings[number].clone()),
    }
}

/// `#[diagnostic(...)]` of a variant, struct or enum, as the expressions of the methods.
#[derive(Clone, Default)]
struct Keys {
    kind: Option<TokenStream>,
    hint: Option<TokenStream>,
    suggestion: Option<TokenStream>,
    code: Option<TokenStream>,
    exit_code: Option<TokenStream>,
    forward: Option<Forward>,
}

#[derive(Clone)]
enum Forward {
    /// The only field, or the one that is marked as the source.
    Source,
    Field(Ident),
}

impl Keys {
    fn from_attributes(attributes: &[Attribute]) -> Result<Keys> {
        let mut keys = Keys::default();
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("diagnostic")) {
            attribute.parse_args_with(|input: ParseStream| keys.read(input))?;
        }
        Ok(keys)
    }

    /// Reads `key = value, key(value), key`.
    fn read(&mut self, input: ParseStream) -> Result<()> {
        while !input.is_empty() {
            let key: Ident = input.parse()?;
            match key.to_string().as_str() {
                "transparent" => self.forward = Some(Forward::Source),
                "forward" => {
                    let field;
                    parenthesized!(field in input);
                    self.forward = Some(Forward::Field(field.parse()?));
                }
                "kind" => self.kind = Some(kind(value(input)?)),
                "hint" => self.hint = Some(hint(input)?),
                "suggestion" => self.suggestion = Some(value(input)?),
                "code" => self.code = Some(code(value(input)?)),
                "exit_code" => self.exit_code = Some(value(input)?),
                _ => return Err(Error::new(key.span(), format!("unknown key `{key}`"))),
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(())
    }
}

/// Tokens between `=` and the next comma.
fn value(input: ParseStream) -> Result<TokenStream> {
    let equals: Token![=] = input.parse()?;
    let mut tokens = TokenStream::new();
    while !input.is_empty() && !input.peek(Token![,]) {
        tokens.extend([input.parse::<proc_macro2::TokenTree>()?]);
    }
    match tokens.is_empty() {
        true => Err(Error::new(equals.span, "nothing is behind the `=`")),
        false => Ok(tokens),
    }
}

/// A name is a variant of `ErrorKind`; anything else is an expression.
fn kind(tokens: TokenStream) -> TokenStream {
    match syn::parse2::<Ident>(tokens.clone()) {
        Ok(name) => quote!(::skiff_disk::error::ErrorKind::#name),
        Err(_) => tokens,
    }
}

/// A word stands for itself; anything else is an expression.
fn code(tokens: TokenStream) -> TokenStream {
    match syn::parse2::<LitStr>(tokens.clone()) {
        Ok(word) => quote!(::core::option::Option::Some(#word)),
        Err(_) => tokens,
    }
}

/// Reads `= "text"`, `= expression` or `("format", arguments)`.
fn hint(input: ParseStream) -> Result<TokenStream> {
    if input.peek(syn::token::Paren) {
        let arguments;
        parenthesized!(arguments in input);
        let arguments: TokenStream = arguments.parse()?;
        return Ok(quote!(::core::option::Option::Some(::std::format!(#arguments))));
    }
    let tokens = value(input)?;
    Ok(match syn::parse2::<LitStr>(tokens.clone()) {
        Ok(text) => text_of_hint(&text),
        Err(_) => {
            quote!(::core::convert::Into::<::core::option::Option<::std::string::String>>::into(#tokens))
        }
    })
}

/// A string, formatted if there is a brace in it.
fn text_of_hint(text: &LitStr) -> TokenStream {
    let text_has_fields = text.value().contains(['{', '}']);
    let text = text.to_token_stream();
    match text_has_fields {
        true => quote!(::core::option::Option::Some(::std::format!(#text))),
        false => quote!(::core::option::Option::Some(::std::string::String::from(#text))),
    }
}
